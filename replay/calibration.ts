// How good a judge is, by the pairs that people labelled: Youden's J. An experiment whose judge is a model promotes nothing by itself
// before it has shown that it sees what people see; its margin shrinks by what it misses.

/** A pair that a person called worse or not, and whether the judge did. */
export type Labelled = { isWorse: boolean; wasFlagged: boolean }

export type Calibration = {
  labels: number
  sensitivity: number | null
  specificity: number | null
  /** Sensitivity + specificity - 1; null while one of them is unknown. */
  j: number | null
  isCalibrated: boolean
}

const labelsMin = 100
// Without some of each kind one of the two shares is a guess.
const eachMin = 20
const jMin = 0.7

export function calibrate(labelled: readonly Labelled[]): Calibration {
  const worse = labelled.filter(({ isWorse }) => isWorse)
  const fine = labelled.filter(({ isWorse }) => !isWorse)
  const share = (of: readonly Labelled[], is: (one: Labelled) => boolean) =>
    of.length === 0 ? null : of.filter(is).length / of.length
  const sensitivity = share(worse, ({ wasFlagged }) => wasFlagged)
  const specificity = share(fine, ({ wasFlagged }) => !wasFlagged)
  const j = sensitivity === null || specificity === null ? null : sensitivity + specificity - 1
  const isEnough = labelled.length >= labelsMin && worse.length >= eachMin && fine.length >= eachMin
  return {
    labels: labelled.length,
    ...{ sensitivity, specificity, j },
    isCalibrated: isEnough && j !== null && j >= jMin,
  }
}
