// Attributes as they came, whatever their dialect: found by key or value, copied with a click.

import { Fragment, useMemo, useState } from 'react'
import { counted } from '../format.ts'
import { pretty } from '../text.ts'
import { Copy, Text } from '../ui/atoms.tsx'
import { LongText } from '../ui/LongText.tsx'
import { useSteps } from '../ui/useSteps.tsx'
import type { Attribute } from '../wire.ts'

const attributesStep = 200

export function Attributes({ attributes }: { attributes: Attribute[] }) {
  const [wanted, setWanted] = useState('')
  const found = useMemo(() => {
    const text = wanted.trim().toLowerCase()
    if (text === '') return attributes
    return attributes.filter(({ key, value }) =>
      `${key}\n${pretty(value)}`.toLowerCase().includes(text),
    )
  }, [attributes, wanted])
  return (
    <>
      <div className="block-tools">
        <label className="filter filter-q">
          <span className="sr">Filter attributes</span>
          <input
            type="text"
            placeholder="Filter by key or value"
            value={wanted}
            spellCheck={false}
            onChange={(event) => setWanted(event.target.value)}
          />
        </label>
        <span className="quiet" role="status">
          {found.length < attributes.length ? `${found.length} of ` : ''}
          {counted(attributes.length, 'attribute')}
        </span>
        <Copy text={toJson(attributes)} what="all attributes as JSON" />
      </div>
      <Pairs pairs={found} />
      {attributes.length === 0 && <p className="quiet">This span carries no attributes.</p>}
    </>
  )
}

/** Key and value, line by line. */
export function Pairs({ pairs }: { pairs: Attribute[] }) {
  const steps = useSteps(pairs.length, attributesStep)
  return (
    <>
      <dl className="pairs">
        {pairs.slice(0, steps.shown).map(({ key, value }, at) => {
          const text = pretty(value)
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: keys may repeat on the wire, places do not
            <div key={`${at} ${key}`} className="pair">
              <dt>
                <Key text={key} />
              </dt>
              <dd>
                <LongText text={text} mono />
              </dd>
              <Copy text={text} what={`value of ${key}`} />
            </div>
          )
        })}
      </dl>
      {steps.more}
    </>
  )
}

/** Long keys break where their words do. */
function Key({ text }: { text: string }) {
  return text.split(/(?<=[._/])/).map((word, at) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: the words of one key never move
    <Fragment key={at}>
      <Text>{word}</Text>
      <wbr />
    </Fragment>
  ))
}

function toJson(attributes: Attribute[]): string {
  return pretty(attributes.map(({ key, value }) => ({ key, value })))
}
