// How much of each workspace's calls is looked at when there are more than can be: one that sends much costs no other its share.

/** Of each workspace one call in so many, so that about `max` are taken in all; those that send less than a fair share keep all. */
export function sharesOf(counts: ReadonlyMap<string, number>, max: number): Map<string, number> {
  const shares = new Map<string, number>()
  const ascending = [...counts].sort((a, b) => a[1] - b[1])
  let left = max
  ascending.forEach(([workspace, calls], i) => {
    const fair = Math.max(1, Math.floor(left / (ascending.length - i)))
    shares.set(workspace, Math.ceil(calls / fair))
    left = Math.max(0, left - Math.min(calls, fair))
  })
  return shares
}
