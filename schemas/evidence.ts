// The evidence pack as it travels: everything a stranger needs to check one record. The payload is what the signature covers;
// whatever stands beside it either repeats the payload, is signed by itself, or is read for nothing.

export type Json = string | number | boolean | null | Json[] | JsonObject
export type JsonObject = { [name: string]: Json }

/** A key's own statement about another: JCS of `payload`, signed by the root. */
export type Certificate = {
  payload: JsonObject
  signature: string
  /** The key that signed, as a Multikey. It proves something only to those who knew it before. */
  root: string
}

export type KeyStatus = 'active' | 'retired' | 'compromised'

export type EvidenceKey = {
  key_id: string
  publicKeyMultibase: string
  not_before: string
  not_after: string
  status: KeyStatus
  certificate: Certificate
}

/** W3C Data Integrity, cryptosuite `eddsa-jcs-2022`, over the payload as its document. */
export type Proof = {
  type: 'DataIntegrityProof'
  cryptosuite: 'eddsa-jcs-2022'
  created: string
  verificationMethod: string
  proofPurpose: 'assertionMethod'
  proofValue: string
}

/** Where the record stands in the transparency log. Until the log is open, every record is pending without a promise. */
export type Inclusion = { status: 'pending'; origin: string | null; promised_by: string | null }

export type Begin = {
  payload: JsonObject
  signature: string
  /** Present when the key was rotated between the two phases. */
  key?: EvidenceKey
}

export type Evidence = {
  record_id: string
  run_id: string | null
  trace_id: string | null
  customer_trace_id: string | null
  route_id: string | null
  public_route_label: string | null
  provider: string | null
  environment: string | null
  prompt_version_id: string | null
  verification_method: 'Ed25519Signature2020'
  signature_input: 'rfc8785(payload)'
  public_key: string
  signature: string
  payload: JsonObject
  /** Hex SHA-256 of the signed bytes, so that a reader whose canonical form differs sees where it went wrong. */
  payload_sha256: string
  begin: Begin | null
  proof: Proof | null
  key: EvidenceKey | null
  inclusion: Inclusion
}

/** What the owner of a record gets beside it, and nobody else: the salts, base64url. */
export type Disclosure = {
  record_id: string
  audit_id: string
  input_salt: string
  output_salt: string
}

/** The bytes that an `eddsa-jcs-2022` signature covers come from two hashes; this is the first document, without its value. */
export function toProofConfig(proof: Proof): Omit<Proof, 'proofValue'> {
  const { proofValue: _, ...config } = proof
  return config
}

/** `did:key:z6Mk…#z6Mk…`: the key names itself, so that no domain has to be asked. */
export function toVerificationMethod(multikey: string): string {
  return `did:key:${multikey}#${multikey}`
}
