// The laws of experiments with jobs on Redis.

import { afterAll, describe } from 'vitest'
import { holdExperimentLaws } from './experiment-laws.ts'
import { isRedisThere, type RedisServer, startRedis } from './redis.ts'

describe.skipIf(!isRedisThere)('with jobs on Redis', () => {
  let redis: RedisServer | undefined
  // Said before the plane's own: what is said last ends first.
  afterAll(() => redis?.stop())
  holdExperimentLaws(async () => {
    redis = await startRedis()
    return { REDIS_URL: redis.url }
  })
})
