// The laws of experiments with jobs on Postgres, as they are without a setting.

import { holdExperimentLaws } from './experiment-laws.ts'

holdExperimentLaws(async () => ({}))
