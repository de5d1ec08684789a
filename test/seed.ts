// Properties are tried with the same random numbers on every run, so that a red one is red again; FC_SEED tries others.

import fc from 'fast-check'

fc.configureGlobal({ seed: Number(process.env.FC_SEED ?? 20_261_121) })
