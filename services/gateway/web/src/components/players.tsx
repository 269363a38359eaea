/** Video, voice and audio: nothing of a recording is fetched before somebody wants to see or hear it. */
import { useEffect, useRef, useState } from 'react'
import { duration } from '../format'
import { t } from '../i18n'
import { frameOf } from '../shapes'
import type { Attachment } from '../wire'
import { PauseIcon, PlayIcon } from './icons'
import { Frame, Photo, useSigned } from './photo'
import styles from './media.module.css'

export function Video({ attachment }: { attachment: Attachment }) {
  const [wanted, setWanted] = useState(false)
  const [source, broken] = useSigned(attachment.url, wanted)
  if (!wanted || !source.url) return <Photo attachment={attachment} preview={null} onOpen={() => setWanted(true)} />
  return (
    <Frame shape={frameOf(attachment.width, attachment.height)}>
      <video className={styles.video} src={source.url} controls autoPlay playsInline onError={broken} aria-label={attachment.name ?? t.media.video} />
    </Frame>
  )
}

/** Only one recording speaks at a time. */
let speaking: HTMLAudioElement | null = null

export function Audio({ attachment }: { attachment: Attachment }) {
  const [wanted, setWanted] = useState(false)
  const [playing, setPlaying] = useState(false)
  const [at, setAt] = useState(0)
  const [length, setLength] = useState(attachment.duration_s ?? 0)
  const [source, broken] = useSigned(attachment.url, wanted)
  const audio = useRef<HTMLAudioElement>(null)
  const name = attachment.kind === 'audio' ? (attachment.name ?? t.kinds.audio) : t.kinds.voice

  useEffect(() => {
    if (wanted && source.url) void audio.current?.play().catch(() => setPlaying(false))
  }, [wanted, source.url])
  useEffect(() => () => { if (speaking === audio.current) speaking = null }, [])

  const toggle = () => {
    const element = audio.current
    if (!element || !source.url) setWanted(true)
    else if (playing) element.pause()
    else void element.play().catch(() => setPlaying(false))
  }

  return (
    <div className={styles.player} data-testid="player">
      <button type="button" className={styles.round} onClick={toggle} aria-label={`${playing ? t.media.pause : t.media.play}: ${name}`}>
        {playing ? <PauseIcon size={20} /> : <PlayIcon size={20} />}
      </button>
      <div className={styles.playerBody}>
        {attachment.kind === 'audio' && <span className={styles.fileName}>{name}</span>}
        <input type="range" className={styles.range} min={0} max={length || 1} step={0.1} value={Math.min(at, length || 1)} aria-label={t.media.position}
          aria-valuetext={duration(at)} disabled={!source.url}
          onChange={({ currentTarget }) => {
            const to = Number(currentTarget.value)
            if (audio.current) audio.current.currentTime = to
            setAt(to)
          }} />
        <span className={styles.time}>{at > 0 ? `${duration(at)} / ${duration(length)}` : duration(length)}</span>
      </div>
      {source.url && (
        <audio ref={audio} src={source.url} preload="metadata" onError={broken}
          onPlay={({ currentTarget }) => {
            if (speaking !== currentTarget) speaking?.pause()
            speaking = currentTarget
            setPlaying(true)
          }}
          onPause={() => setPlaying(false)} onEnded={() => { setPlaying(false); setAt(0) }}
          onTimeUpdate={({ currentTarget }) => setAt(currentTarget.currentTime)}
          onLoadedMetadata={({ currentTarget }) => { if (Number.isFinite(currentTarget.duration)) setLength(currentTarget.duration) }} />
      )}
      {source.state === 'failed' || source.state === 'gone' ? <span className={styles.trouble}>{t.media.failed}</span> : null}
    </div>
  )
}
