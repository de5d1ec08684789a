// The answers under way, so that a stop which cannot wait any longer ends each of them with its receipt.

export class LiveAnswers {
  readonly #answers = new Set<{ interrupt(): void }>()

  get size(): number {
    return this.#answers.size
  }

  add(answer: { interrupt(): void }): void {
    this.#answers.add(answer)
  }

  delete(answer: { interrupt(): void }): void {
    this.#answers.delete(answer)
  }

  /** Each is told once; it stores what was seen, says so to its client, and ends. */
  interrupt(): void {
    for (const answer of this.#answers) answer.interrupt()
  }
}
