// Users: who they are, what is left of their balance, and whether a password is theirs.

import { newId, toUuid } from '../../schemas/ids.ts'
import { nanoToCents } from '../money/amounts.ts'
import type { Sql } from './keys.ts'
import { hashPassword, isPassword } from './passwords.ts'

export type User = { id: string; email: string; name: string; credit_balance_cents: number }

type Row = { id: string; email: string; name: string; balance: string }

// A balance is what was ever credited less what was ever spent of it.
const selectUser = `SELECT u.id, u.email, u.name, (u.credited_nano_usd - coalesce(p.spent_nano_usd, 0))::text AS balance
  FROM users u LEFT JOIN purses p ON p.purse = u.id AND p.period = ''`

export type Users = {
  /** Undefined when the address has an account. */
  create(wish: { email: string; name: string; password: string }): Promise<User | undefined>
  /** The user whose password this is; undefined for a wrong one, and after as long a time for an unknown address. */
  login(email: string, password: string): Promise<User | undefined>
  find(id: string): Promise<User | undefined>
  findByEmail(email: string): Promise<User | undefined>
}

export function openUsers(sql: Sql): Users {
  const byEmail = async (email: string) => {
    const [row] = await sql.query<Row>(`${selectUser} WHERE u.email = $1`, [toAddress(email)])
    return row && toUser(row)
  }
  return {
    findByEmail: byEmail,
    async find(id) {
      const [row] = await sql.query<Row>(`${selectUser} WHERE u.id = $1`, [id])
      return row && toUser(row)
    },
    async create({ email, name, password }) {
      const made = await sql.query<{ id: string }>(
        'INSERT INTO users (id, email, name, password) VALUES ($1, $2, $3, $4) ON CONFLICT (email) DO NOTHING RETURNING id',
        [toUuid(newId()), toAddress(email), name, await hashPassword(password)],
      )
      return made.length === 0 ? undefined : byEmail(email)
    },
    async login(email, password) {
      const [row] = await sql.query<{ password: string | null }>(
        'SELECT password FROM users WHERE email = $1',
        [toAddress(email)],
      )
      return (await isPassword(password, row?.password ?? null)) ? byEmail(email) : undefined
    },
  }
}

/** One account an address, however it is spelled. */
function toAddress(email: string): string {
  return email.trim().toLowerCase()
}

function toUser({ balance, ...row }: Row): User {
  return { ...row, credit_balance_cents: nanoToCents(BigInt(balance)) }
}
