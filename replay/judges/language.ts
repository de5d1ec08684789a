// The language of an answer, as far as script and the commonest words tell it. Short or mixed text has none: no false alarm.

const scripts: [string, RegExp][] = [
  ['ja', /[\p{Script=Hiragana}\p{Script=Katakana}]/gu],
  ['zh', /\p{Script=Han}/gu],
  ['ko', /\p{Script=Hangul}/gu],
  ['ru', /\p{Script=Cyrillic}/gu],
  ['ar', /\p{Script=Arabic}/gu],
  ['he', /\p{Script=Hebrew}/gu],
  ['hi', /\p{Script=Devanagari}/gu],
  ['th', /\p{Script=Thai}/gu],
  ['el', /\p{Script=Greek}/gu],
]

const words: Record<string, string> = {
  en: 'the and is are was of to in that for with you your this have has not it be will can from on we our',
  de: 'der die das und ist sind war von zu den dem mit für sie ihre ihr nicht es ein eine wird werden kann auf wir auch',
  fr: 'le la les et est sont était de du des un une que pour avec vous votre ce cette ne pas il sera peut dans nous',
  es: 'el la los las y es son era de del un una que para con usted su este esta no se será puede en nosotros por',
  it: 'il lo la gli e è sono era di del della un una che per con lei suo questo questa non si sarà può nel noi',
  pt: 'o a os as e é são era de do da um uma que para com você seu este esta não se será pode em nós por',
  nl: 'de het een en is zijn was van te in dat voor met u uw deze niet er wordt worden kan op wij ook aan',
}
const commonest = Object.entries(words).map(([language, list]) => ({
  language,
  list: new Set(list.split(' ')),
}))

const lettersMin = 40
const charactersMax = 4_000
// The best language must have this share of the words, and this many times what the second has.
const shareMin = 0.15
const leadMin = 1.4

/** ISO 639-1, of what is known here; undefined when the text does not tell. */
export function languageOf(given: string): string | undefined {
  // Code and addresses are not in a language.
  const text = given.slice(0, charactersMax).replaceAll(/```[\s\S]*?```|https?:\/\/\S+/g, ' ')
  const letters = text.match(/\p{L}/gu)?.length ?? 0
  for (const [language, script] of scripts) {
    // A Japanese text is mostly Han; one kana in ten letters tells it. A CJK letter says as much as three Latin ones.
    const found = text.match(script)?.length ?? 0
    if (found >= 10 && found >= letters * (language === 'ja' ? 0.1 : 0.5)) return language
  }
  if (letters < lettersMin) return undefined
  const all = text.toLowerCase().match(/\p{L}+/gu) ?? []
  const [best, second] = commonest
    .map(({ language, list }) => ({ language, hits: all.filter((word) => list.has(word)).length }))
    .sort((a, b) => b.hits - a.hits)
  if (best === undefined || best.hits < all.length * shareMin) return undefined
  return best.hits >= (second?.hits ?? 0) * leadMin ? best.language : undefined
}
