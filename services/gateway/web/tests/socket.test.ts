import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LiveSocket, type SocketState, type Wire } from '../src/socket'
import type { ClientFrame, LiveEvent, ServerFrame } from '../src/wire'
import { settle } from './fixtures'

/** The server's end of one connection, at the level of frames. */
class ServerEnd {
  readonly said: ClientFrame[] = []
  closed = false
  readonly wire = {
    send: (text: string) => { this.said.push(JSON.parse(text) as ClientFrame) },
    close: () => { this.closed = true },
    onopen: null, onmessage: null, onclose: null,
  } as unknown as Wire & { onopen: (() => void) | null }

  open(): void { (this.wire.onopen as unknown as () => void)() }
  say(frame: ServerFrame): void {
    (this.wire.onmessage as unknown as ((event: { data: string }) => void) | null)?.({ data: JSON.stringify(frame) })
  }
  close(code = 1006): void { (this.wire.onclose as unknown as ((event: { code: number }) => void) | null)?.({ code }) }
}

const event = (n: number): LiveEvent => ({ type: 'read.updated', data: { conversation_id: 'c', in_seq: n } })
const batch = (prev: number, pos: number): ServerFrame => ({ type: 'batch', events: [event(pos)], prev, pos, id: `i${pos}` })
const ready = (mode: 'fresh' | 'resumed' | 'resync', pos: number): ServerFrame => ({ type: 'ready', mode, epoch: 'e1', pos, id: `i${pos}`, heartbeat_s: 25 })

let ends: ServerEnd[]
let states: SocketState[]
let resumed: boolean[]
let taken: number[]
let tickets: number
let unauthorised: number
let ticket: () => Promise<string>
let goOn: boolean
let socket: LiveSocket
let glimpses: LiveEvent[]

beforeEach(() => {
  vi.useFakeTimers()
  ends = []
  states = []
  resumed = []
  taken = []
  glimpses = []
  tickets = 0
  unauthorised = 0
  goOn = true
  ticket = () => Promise.resolve(`t${++tickets}`)
  socket = new LiveSocket({
    connect: () => {
      const end = new ServerEnd()
      ends.push(end)
      return end.wire
    },
    ticket: () => ticket(),
    clientId: 'tab', build: '1', random: () => 1, now: () => Date.now(),
    onState: (state) => states.push(state),
    onReady: (again) => resumed.push(again),
    onBatch: (_events, pos) => taken.push(pos),
    onGlimpse: (event) => glimpses.push(event),
    onTicketRefused: () => goOn,
    onUnauthorised: () => { unauthorised += 1 },
  })
})

afterEach(() => {
  socket.stop()
  vi.useRealTimers()
})

async function greet(frame: ServerFrame): Promise<ServerEnd> {
  await settle()
  const end = ends.at(-1)!
  end.open()
  end.say(frame)
  return end
}

describe('the first connection', () => {
  it('says hello with a ticket and without a position, then takes batches in order', async () => {
    socket.start()
    const end = await greet(ready('fresh', 7))
    expect(end.said).toEqual([{ type: 'hello', ticket: 't1', client_id: 'tab', build: '1' }])
    expect(resumed).toEqual([false])
    end.say(batch(7, 9))
    end.say(batch(9, 10))
    expect(taken).toEqual([9, 10])
    expect(socket.position).toEqual({ epoch: 'e1', pos: 10, id: 'i10' })
    expect(states).toEqual(['connecting', 'live'])
  })

  it('answers ping with pong and follows a bare position', async () => {
    socket.start()
    const end = await greet(ready('fresh', 7))
    end.say({ type: 'ping' })
    end.say({ type: 'pos', pos: 20, id: 'i20' })
    end.say({ type: 'pos', pos: 12, id: 'i12' })
    expect(end.said.at(-1)).toEqual({ type: 'pong' })
    expect(socket.position?.pos).toBe(20)
    end.say(batch(20, 21))
    expect(taken).toEqual([21])
  })

  it('is given up and tried again when no ready comes', async () => {
    socket.start()
    await settle()
    ends[0]!.open()
    await vi.advanceTimersByTimeAsync(10_000)
    expect(ends[0]!.closed).toBe(true)
    await vi.advanceTimersByTimeAsync(300)
    expect(ends).toHaveLength(2)
  })
})

describe('a position', () => {
  it('stays where it is when a frame carries only what has no place in the stream', async () => {
    socket.start()
    const end = await greet(ready('fresh', 7))
    end.say(batch(7, 7))
    end.say(batch(7, 9))
    end.say(batch(9, 9))
    expect(taken).toEqual([7, 9, 9])
    expect(end.closed).toBe(false)
  })

  it('ignores what was applied already', async () => {
    socket.start()
    const end = await greet(ready('fresh', 7))
    end.say(batch(7, 9))
    end.say(batch(7, 9))
    end.say(batch(3, 5))
    expect(taken).toEqual([9])
  })

  it('with a gap reconnects and asks for exactly what is missing', async () => {
    socket.start()
    const first = await greet(ready('fresh', 7))
    first.say(batch(7, 9))
    first.say(batch(11, 12))
    expect(taken).toEqual([9])
    expect(first.closed).toBe(true)
    await vi.advanceTimersByTimeAsync(300)
    const second = await greet(ready('resumed', 9))
    expect(second.said[0]).toEqual({ type: 'hello', ticket: 't2', epoch: 'e1', pos: 9, id: 'i9', client_id: 'tab', build: '1' })
    expect(resumed).toEqual([false, true])
    second.say(batch(9, 11))
    second.say(batch(11, 12))
    expect(taken).toEqual([9, 11, 12])
  })

  it('is replaced when the server cannot resume', async () => {
    socket.start()
    const first = await greet(ready('fresh', 7))
    first.close()
    await vi.advanceTimersByTimeAsync(300)
    const second = await greet({ ...ready('resync', 3), epoch: 'e2' } as ServerFrame)
    expect(resumed).toEqual([false, false])
    expect(socket.position).toEqual({ epoch: 'e2', pos: 3, id: 'i3' })
    second.say(batch(3, 4))
    expect(taken).toEqual([4])
  })

  it('takes every event once over any cuts, as a log read by a resuming server', async () => {
    // A server that keeps a log and resumes from whatever position the client says.
    const log = Array.from({ length: 200 }, (_, i) => i + 1)
    let seed = 5
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647
    socket.start()
    await greet(ready('fresh', 0))
    for (let round = 0; round < 400 && taken.length < log.length; round++) {
      await settle()
      const end = ends.at(-1)!
      if (!end.closed && socket.state === 'connecting') {
        end.open()
        end.say(ready('resumed', socket.position!.pos))
      }
      const from = socket.position!.pos
      const upTo = Math.min(log.length, from + 1 + Math.floor(random() * 5))
      for (let pos = from + 1; pos <= upTo; pos++) {
        if (random() < 0.1) end.say(batch(pos, pos + 1))
        else end.say(batch(pos - 1, pos))
        if (random() < 0.2) end.say(batch(pos - 1, pos))
      }
      if (random() < 0.2) end.close()
      await vi.advanceTimersByTimeAsync(15_000)
    }
    expect(taken).toEqual(log)
  })
})

describe('a broken connection', () => {
  it('comes back ever more slowly, up to 15 seconds, and fast again after a steady one', async () => {
    socket.start()
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      await settle()
      const count = ends.length
      ends.at(-1)!.close()
      let waited = 0
      while (ends.length === count) {
        await vi.advanceTimersByTimeAsync(100)
        waited += 100
      }
      waits.push(waited)
    }
    expect(waits).toEqual([300, 600, 1200, 2400, 4800, 9600, 15000, 15000])
    const good = await greet(ready('fresh', 1))
    await vi.advanceTimersByTimeAsync(5_000)
    good.close()
    const count = ends.length
    await vi.advanceTimersByTimeAsync(300)
    expect(ends.length).toBe(count + 1)
  })

  it('is noticed by two silent heartbeats', async () => {
    socket.start()
    const end = await greet(ready('fresh', 1))
    await vi.advanceTimersByTimeAsync(49_000)
    end.say({ type: 'ping' })
    await vi.advanceTimersByTimeAsync(49_900)
    expect(end.closed).toBe(false)
    await vi.advanceTimersByTimeAsync(200)
    expect(end.closed).toBe(true)
  })

  it('is not waited out when the network comes back', async () => {
    socket.start()
    for (let i = 0; i < 6; i++) {
      await settle()
      ends.at(-1)!.close()
      if (i < 5) await vi.advanceTimersByTimeAsync(15_000)
    }
    const count = ends.length
    socket.wake()
    await settle()
    expect(ends.length).toBe(count + 1)
  })

  it('is suspected at once when the tab wakes to a silent socket', async () => {
    socket.start()
    const end = await greet(ready('fresh', 1))
    socket.wake()
    expect(end.closed).toBe(false)
    await vi.advanceTimersByTimeAsync(31_000)
    socket.wake()
    expect(end.closed).toBe(true)
    await vi.advanceTimersByTimeAsync(0)
    expect(ends).toHaveLength(2)
  })
})

describe('the server', () => {
  it('sends us away and we come back when it says', async () => {
    socket.start()
    const end = await greet(ready('fresh', 1))
    end.say({ type: 'bye', code: 'restart', reconnect_after_ms: 2_000 })
    expect(end.closed).toBe(true)
    await vi.advanceTimersByTimeAsync(1_900)
    expect(ends).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(100)
    expect(ends).toHaveLength(2)
  })

  it('refuses a token: it is renewed before the next try', async () => {
    socket.start()
    const end = await greet(ready('fresh', 1))
    end.close(4401)
    expect(unauthorised).toBe(1)
    await vi.advanceTimersByTimeAsync(300)
    ends.at(-1)!.open()
    ends.at(-1)!.say({ type: 'error', code: 'unauthorized' })
    expect(unauthorised).toBe(2)
  })

  it('gives no ticket: tries go on only if the owner says so', async () => {
    ticket = () => Promise.reject(new Error('no'))
    socket.start()
    await settle()
    expect(socket.state).toBe('waiting')
    goOn = false
    await vi.advanceTimersByTimeAsync(300)
    expect(socket.state).toBe('off')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(ends).toHaveLength(0)
  })
})

describe('stopping', () => {
  it('makes late answers harmless', async () => {
    let give: (text: string) => void = () => undefined
    ticket = () => new Promise((resolve) => { give = resolve })
    socket.start()
    socket.stop()
    give('late')
    await settle()
    expect(ends).toHaveLength(0)
    expect(socket.state).toBe('off')
  })
})

describe('what colleagues do right now', () => {
  it('comes as a frame or inside one, and moves no position', async () => {
    socket.start()
    const end = await greet({ type: 'ready', mode: 'fresh', epoch: 'e', pos: 5, id: null, heartbeat_s: 25 })
    const signal = { conversation_id: 'c', user: { id: 's', name: 'Світлана' }, ttl_s: 6 }
    end.say({ type: 'typing', ...signal })
    end.say({ type: 'presence', data: { conversation_id: 'c', viewers: [] } })
    expect(glimpses).toMatchObject([{ type: 'typing', data: signal }, { type: 'presence', data: { viewers: [] } }])
    expect(socket.position?.pos).toBe(5)
  })

  it('is told only while there is a connection', async () => {
    socket.tell({ type: 'viewing', conversation_id: 'c' })
    socket.start()
    await settle()
    ends.at(-1)!.open()
    socket.tell({ type: 'viewing', conversation_id: 'c' })
    expect(ends.at(-1)!.said.map((frame) => frame.type)).toEqual(['hello'])
    socket.stop()
    socket.start()
    const end = await greet({ type: 'ready', mode: 'fresh', epoch: 'e', pos: 5, id: null, heartbeat_s: 25 })
    socket.tell({ type: 'typing', conversation_id: 'c' })
    expect(end.said.map((frame) => frame.type)).toEqual(['hello', 'typing'])
  })
})
