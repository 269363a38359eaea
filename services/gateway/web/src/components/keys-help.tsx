/** The list of keys, and the switch for those with letters. */
import { Button } from '@mantine/core'
import { Fragment, useState } from 'react'
import { useDesk } from '../hooks'
import { k } from './keys-texts'
import { Question } from './question'
import styles from './keys-help.module.css'

export default function KeysHelp({ onClose }: { onClose: () => void }) {
  const { keys } = useDesk()
  const [letters, setLetters] = useState(keys.letters)
  return (
    <Question title={k.title} onClose={onClose}>
      <div data-testid="keys-help">
        {k.groups.map(({ title, lines }) => (
          <section key={title}>
            <h3 className={styles.group}>{title}</h3>
            <dl className={styles.lines}>
              {lines.map(([chords, does]) => (
                <div key={does} className={styles.line}>
                  <dt>
                    {chords.map((chord, i) => (
                      <Fragment key={chord}>
                        {i > 0 && <span className="visually-hidden">, </span>}
                        <span className={styles.chord}>{chord.split('+').map((key) => <kbd key={key} className={styles.key}>{key}</kbd>)}</span>
                      </Fragment>
                    ))}
                  </dt>
                  <dd>{does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
        <label className={styles.choice}>
          <input type="checkbox" checked={letters} onChange={({ currentTarget }) => {
            keys.letters = currentTarget.checked
            setLetters(currentTarget.checked)
          }} />
          <span>{k.letters}<br /><span className={styles.hint}>{k.lettersHint}</span></span>
        </label>
        <div className={styles.buttons}><Button onClick={onClose} data-autofocus>{k.close}</Button></div>
      </div>
    </Question>
  )
}
