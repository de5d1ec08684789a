// Two baselines for discovery: the exact hash of the prompt, and Drain (He et al., ICWS 2017) over its words, own code.

import { createHash } from 'node:crypto'

export function exactIds(texts: readonly string[]): string[] {
  return texts.map((text) => createHash('sha256').update(text).digest('hex'))
}

type Cluster = { id: number; words: string[] }

// The defaults of the usual implementation: depth 4, so two leading words; similarity 0.4; a hundred children a node.
const leadingWords = 2
const similarityMin = 0.4
const childrenMax = 100

/** The cluster of each text: tree by word count and leading words, then the likest template, whose differing words go. */
export function drainIds(texts: readonly string[]): string[] {
  const leaves = new Map<string, Cluster[]>()
  const heads = new Map<number, Set<string>>()
  let next = 0
  return texts.map((text) => {
    const words = text.split(/\s+/).map((word) => (/\d/.test(word) ? '<*>' : word))
    const known = heads.get(words.length) ?? new Set<string>()
    heads.set(words.length, known)
    const head = words.slice(0, leadingWords).join(' ')
    const branch = known.has(head) || known.size < childrenMax ? head : '<*>'
    known.add(branch)
    const key = `${words.length} ${branch}`
    const clusters = leaves.get(key) ?? []
    leaves.set(key, clusters)
    let best: Cluster | undefined
    let bestShare = similarityMin
    for (const cluster of clusters) {
      const same = cluster.words.filter((word, i) => word === words[i]).length / words.length
      if (same >= bestShare) [best, bestShare] = [cluster, same]
    }
    if (!best) {
      best = { id: next++, words }
      clusters.push(best)
    } else best.words = best.words.map((word, i) => (word === words[i] ? word : '<*>'))
    return String(best.id)
  })
}
