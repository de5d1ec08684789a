// Every bound and threshold of discovery, each with what it trades. All counts are of requests unless said otherwise.

/** Presence is judged in blocks of this many: shorter finds versions sooner, longer tells 95 % from always. */
export const blockSize = 16
/** Whole blocks without a gap that make a part of a prompt fixed, and their least share of the part's life. */
export const fullBlocksMin = 3
export const fullShareMin = 0.6
/** A block with less than this share of sightings ends a part's life; the next sighting begins another. */
export const sparseShareMax = 0.75
/** The two bounds for a word in a line whose words change: "the" is in nearly every sentence, and belongs to none. */
export const fullBlocksOfWordMin = 4
export const fullShareOfWordMin = 0.75
/** Requests a family remembers in detail; a version that takes longer to show is found late. */
export const recentMax = 256
/** A part that comes and goes over this many, and was missing this often, is a variable, whatever it was before. */
export const mixedMin = 64
export const mixedAbsencesMin = 4
/** Stretches this long, with and without it, are no mixture. */
export const stretchMin = 24
/** A request with less than this share of the usual fixed parts says nothing about them: it is of another prompt. */
export const ownShareMin = 0.6
/** Absences of a fixed part that one other part must explain to make it a rollout and not a variable. */
export const explainedMin = 12
/** A part added or taken away for a share: after so many without a change, over so many, in and missing from this share. */
export const splitAfterMin = 32
export const splitOverMin = 32
export const splitShareMin = 0.4

/** Sightings that make a shape provisional, and stable at once or after a while; rarer shapes are variants. */
export const provisionalMin = 8
export const stableMin = 30
export const stableSlowMin = 15
export const stableAfterMs = 10 * 60_000
export const usersMin = 2
/** A version that its callers name is told once its text is known: the very same this often, or as often as any other. */
export const sameTextMin = 3
/** With one user alone, this many: a loop in a test is no rollout. */
export const oneUserStableMin = 120
/** A shape that is no version after its family saw this many more is folded into the nearest. */
export const variantAfter = 512
/** The same for a shape that has nothing of its own: it lacks a line that others have, or mixes what was there before. */
export const mixtureAfter = 96

/** More new versions an hour than this in one registry pause it. */
export const newVersionsPerHour = 5
export const hourMs = 3_600_000

/** Runs of one version that wait to be reported; the oldest are let go. */
export const waitingMax = 1_000
/** A family looks again at what it knows after this many, and at the latest after the time. */
export const lookEvery = 16
export const lookAnywayEvery = 64
export const lookAfterMs = 10 * 60_000
/** Of the latest, how many decide what the core is, and how many whether a shape has taken over. */
export const coreWindow = 64
export const takeoverWindow = 32
export const takeoverShareMin = 0.75

/** Share of a family's core, by weight, that a request must contain. */
export const coreShareMin = 0.6
/** What the same tools add to that share. */
export const sameToolsBonus = 0.1
/** Requests that fit no family wait here for others like them; the oldest is let go. */
export const poolMax = 384
export const poolEvery = 32
export const poolSupportMin = 4
export const poolMembersMin = 8
export const poolLikenessMin = 0.5
/** Until this many others came, a request is only judged by lines most of which are known to repeat. */
export const poolWait = 96
export const poolKnownShareMin = 0.5

/** Of everything that is remembered, as size.ts estimates it; the largest workspace pays first. */
export const bytesMax = 128 * 1024 * 1024
/** Lines of all remembered requests of a family: requests of many lines are remembered for less long. */
export const recentLinesMax = 16_384
/** Changing words of all lines of a family; beyond it the longest unseen lines lose theirs. */
export const wordsPerFamilyMax = 8_192
/** A workspace is weighed after this many requests, and its families whenever they look. */
export const weighEvery = 256

/** Names of the registry that are kept in mind: registries, and the latest versions of each. */
export const reservedMax = 2_000
export const reservedVersionsMax = 256

export const familiesMax = 200
export const groupsMax = 512
export const tokensPerGroupMax = 256
export const keysPerFamilyMax = 4_000
export const versionsMax = 64
export const shapesMax = 128
export const exactMax = 1_000
export const linesMax = 4_000
export const segmentsMax = 256
export const tokensPerSegmentMax = 96
export const segmentCharsMax = 240
export const promptCharsMax = 200_000
export const sampleCharsMax = 32_000
export const familiesPerKeyMax = 32
export const eventsMax = 10_000
/** Workspaces held at once; the longest unseen is let go. */
export const workspacesMax = 200
