import { expect, it } from 'vitest'
import type { Stream } from '../../../src/net/index.ts'
import type { MappingRequest } from '../../../src/pmp/protocol.ts'
import { bytes, describe, envelope, faultOf, ok, PPP1, response, type Scene, scene, WAN1 } from './fake-igd.ts'

function wanted({ local }: Scene, more: Partial<MappingRequest> = {}): MappingRequest {
  return { transport: 'udp', internal: local.withPort(5001), externalPort: 5001, lifetime: 3_600_000, ...more }
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no failure',
    (error) => (error as { code: string }).code,
  )
}

/** Services that answer differently, by their control path. */
async function withLines(lines: Readonly<Record<string, { type?: string; status: string; ip: string; fault?: number }>>): Promise<Scene> {
  const at = await scene()
  at.igd.services = Object.entries(lines).map(([control, { type = WAN1 }]) => ({ type, control }))
  at.igd.answer = ({ path, action, type }) => {
    const line = lines[path]
    if (line === undefined) return undefined
    if (action === 'GetStatusInfo') return response(type, action, { NewConnectionStatus: line.status })
    if (action === 'GetExternalIPAddress') return response(type, action, { NewExternalIPAddress: line.ip })
    return line.fault !== undefined && action === 'AddPortMapping' ? faultOf(line.fault) : undefined
  }
  return at
}

it('a probe tells who the router is, which service is used, its state and address, and maps nothing', async () => {
  const at = await scene()
  at.igd.description = () => describe(at.igd.services, '<manufacturer>Acme</manufacturer><modelName>Box 1</modelName>')
  expect(await at.lab.until(at.client.probe())).toMatchObject({ model: 'Acme Box 1', service: 'WANIPConnection:1', state: 'Connected' })
  expect(at.igd.held.size).toBe(0)
  expect(at.igd.actions.some((action) => action.startsWith('Add'))).toBe(false)
})

it('a router that was found is not looked for again', async () => {
  const at = await scene()
  await at.lab.until(at.client.probe())
  const before = at.igd.asked.length
  at.igd.externalIp = '203.0.113.78'
  expect((await at.lab.until(at.client.probe())).external?.ip).toBe('203.0.113.78')
  expect(at.igd.actions.slice(before).sort()).toEqual(['GetExternalIPAddress', 'GetStatusInfo'])
})

it('questions asked together share one search', async () => {
  const at = await scene()
  const [facts, grant] = await at.lab.until(Promise.all([at.client.probe(), at.client.map(wanted(at))]))
  expect([facts.external?.ip, grant.external.ip]).toEqual(['203.0.113.77', '203.0.113.77'])
  expect(at.igd.actions.filter((action) => action === 'GET')).toHaveLength(1)
})

it('round trips: a probe takes five, a mapping from nothing seven, one at a known router four, a deletion two', async () => {
  const at = await scene()
  // The trip to the router and back: to the link and down to its host, an eighth of a millisecond for each of ours.
  const trips = async (question: () => Promise<unknown>): Promise<number> => {
    const start = at.lab.clock.now()
    await at.lab.until(question())
    return (at.lab.clock.now() - start) / 0.25
  }
  expect(await trips(() => at.client.probe())).toBe(5)
  let grant = await at.client.map.bind(at.client)
  const first = await scene()
  const start = first.lab.clock.now()
  await first.lab.until(first.client.map(wanted(first)))
  expect((first.lab.clock.now() - start) / 0.25).toBe(7)
  expect(await trips(() => at.client.map(wanted(at)).then((made) => (grant = async () => made)))).toBe(4)
  const made = await grant(wanted(at))
  expect(await trips(() => at.client.unmap(made))).toBe(2)
})

it.each([
  [
    'connected and public',
    { '/a': ['Disconnected', '203.0.113.1'], '/b': ['Connected', '10.0.0.1'], '/c': ['Connected', '203.0.113.2'] },
    '/c',
  ],
  ['connected and private', { '/a': ['Disconnected', '203.0.113.1'], '/b': ['Connected', ''], '/c': ['Up', '10.0.0.1'] }, '/c'],
  ['connected', { '/a': ['Disconnected', '203.0.113.1'], '/b': ['Connected', ''] }, '/b'],
  ['the first', { '/a': ['Disconnected', ''], '/b': ['Connecting', ''] }, '/a'],
] as const)('of several services the best is asked: %s', async (_what, lines, best) => {
  const at = await withLines(Object.fromEntries(Object.entries(lines).map(([path, [status, ip]]) => [path, { status, ip }])))
  await at.lab.until(at.client.map(wanted(at)))
  expect(at.igd.asked.filter(({ action }) => action === 'AddPortMapping').map(({ path }) => path)).toEqual([best])
})

it('a service that fails with an unknown number makes way for the next, but not for one that is down', async () => {
  const at = await withLines({
    '/a': { status: 'Connected', ip: '203.0.113.1', fault: 899 },
    '/b': { type: PPP1, status: 'Connected', ip: '203.0.113.2' },
    '/c': { status: 'Disconnected', ip: '' },
  })
  expect((await at.lab.until(at.client.map(wanted(at)))).external.ip).toBe('203.0.113.2')
  const down = await withLines({
    '/a': { status: 'Connected', ip: '203.0.113.1', fault: 899 },
    '/c': { status: 'Disconnected', ip: '' },
  })
  expect(await down.lab.until(failure(down.client.map(wanted(down))))).toBe('ERR_MAPPING_REFUSED')
})

it('a mapping is renewed and deleted where it was made', async () => {
  const at = await withLines({
    '/a': { status: 'Connected', ip: '203.0.113.1', fault: 899 },
    '/b': { status: 'Connected', ip: '203.0.113.2' },
  })
  const previous = await at.lab.until(at.client.map(wanted(at)))
  const before = at.igd.asked.length
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  await at.lab.until(at.client.unmap(grant))
  expect(new Set(at.igd.asked.slice(before).map(({ path }) => path))).toEqual(new Set(['/b']))
})

it('a service that went down is left for one that is up at the next probe', async () => {
  const lines = { '/a': { status: 'Connected', ip: '203.0.113.1' }, '/b': { status: 'Connected', ip: '203.0.113.2' } }
  const at = await withLines(lines)
  expect((await at.lab.until(at.client.probe())).external?.ip).toBe('203.0.113.1')
  lines['/a'].status = 'Disconnected'
  expect((await at.lab.until(at.client.probe())).external?.ip).toBe('203.0.113.2')
})

it('a router whose services have moved is looked for once more', async () => {
  const at = await scene()
  const previous = await at.lab.until(at.client.map(wanted(at)))
  at.igd.services = [{ type: WAN1, control: '/new' }]
  at.igd.held.clear()
  at.igd.answer = ({ path }) => (path === '/ctl' ? 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n' : undefined)
  const grant = await at.lab.until(at.client.map(wanted(at, { previous })))
  expect(grant.memory).toMatchObject({ control: `${at.router.ip}:5000/new` })
  await at.lab.until(at.client.unmap(previous))
  expect(at.igd.held.size).toBe(0)
})

it('after a failed search the next question searches again', async () => {
  const at = await scene()
  const { found } = at.igd
  at.igd.found = () => []
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_MAPPING_UNAVAILABLE')
  at.igd.found = found
  expect((await at.lab.until(at.client.probe())).service).toBe('WANIPConnection:1')
})

it('a host that leaves its network fails within the search', async () => {
  const at = await scene()
  const probe = failure(at.client.probe())
  at.host.removeInterface()
  expect(await at.lab.until(probe)).toMatch(/^ERR_(?:MAPPING_UNAVAILABLE|BIND)$/)
  expect(await at.lab.until(failure(at.client.probe()))).toBe('ERR_BIND')
})

it.each([
  ['the search', 0, 'ERR_CLOSED'],
  ['the description', 0.3, 'ERR_CLOSED'],
  ['the questions', 0.8, 'ERR_CLOSED'],
  // The questions are answered by then.
  ['reading back', 1.3, 'no failure'],
])('close during %s ends what is pending, and leaves nothing', async (_what, after, probed) => {
  const at = await scene()
  const pending = [at.client.probe(), at.client.map(wanted(at))].map(failure)
  await at.lab.run(after)
  at.client.close()
  at.client.close()
  expect(await at.lab.until(Promise.all(pending), { within: 10 })).toEqual([probed, 'ERR_CLOSED'])
  await at.lab.run(10_000)
  expect(at.timers.size).toBe(0)
  expect(await failure(at.client.probe())).toBe('ERR_CLOSED')
  expect(await failure(at.client.map(wanted(at)))).toBe('ERR_CLOSED')
})

/** What a stream is fed, a piece each step, until it is closed. */
function feed(piece: string, every: number, { lab }: Scene, first = ''): (stream: Stream) => void {
  return (stream) => {
    let open = true
    stream.handle({ data: () => {}, drained: () => {}, closed: () => (open = false) })
    stream.write(bytes(first))
    const next = (): void => {
      if (!open) return
      stream.write(bytes(piece))
      lab.after(every, next)
    }
    next()
  }
}

const HEAD = 'HTTP/1.1 200 OK\r\n'
const MEGABYTE = 'x'.repeat(1 << 20)

it.each<readonly [string, (at: Scene) => string | ((stream: Stream) => void), string]>([
  ['100 MB without a length', (at) => feed(MEGABYTE, 1, at, `${HEAD}\r\n`), 'ERR_MAPPING_ANSWER'],
  ['100 MB with a length', (at) => feed(MEGABYTE, 1, at, `${HEAD}Content-Length: 104857600\r\n\r\n`), 'ERR_MAPPING_ANSWER'],
  ['endless chunks', (at) => feed('1\r\nx\r\n'.repeat(500), 0.1, at, `${HEAD}Transfer-Encoding: chunked\r\n\r\n`), 'ERR_MAPPING_ANSWER'],
  ['endless headers', (at) => feed('A: b\r\n', 0.1, at, HEAD), 'ERR_MAPPING_ANSWER'],
  ['an endless header', (at) => feed('bbbbbbbbbb', 0.1, at, `${HEAD}A: `), 'ERR_MAPPING_ANSWER'],
  ['a byte a second', (at) => feed('x', 1000, at, `${HEAD}\r\n`), 'ERR_MAPPING_ANSWER'],
  ['nothing', () => () => {}, 'ERR_MAPPING_UNAVAILABLE'],
  ['a reset', () => (stream) => stream.destroy(), 'ERR_MAPPING_UNAVAILABLE'],
  ['an end', () => (stream) => stream.end(), 'ERR_MAPPING_UNAVAILABLE'],
  ['a redirect', () => 'HTTP/1.1 302 Found\r\nLocation: http://203.0.113.9/\r\nContent-Length: 0\r\n\r\n', 'ERR_MAPPING_ANSWER'],
  ['a refusal', () => 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', 'ERR_MAPPING_ANSWER'],
  ['no HTTP', () => 'SSH-2.0-x\r\n', 'ERR_MAPPING_ANSWER'],
  ['10,000 services', () => ok(describe(Array.from({ length: 10_000 }, () => ({ type: WAN1, control: '/c' })))), 'ERR_MAPPING_ANSWER'],
  ['HTML', () => ok('<!DOCTYPE html><html><body>Login</body></html>'), 'ERR_MAPPING_ANSWER'],
])('a description of %s ends in a typed error, in bounded time and memory', async (_what, answer, code) => {
  const at = await scene()
  const hostile = answer(at)
  at.igd.answer = ({ method }) => (method === 'GET' ? hostile : undefined)
  let received = 0
  at.lab.filter(({ host, protocol, data }) => {
    if (host !== 'host' && protocol === 'tcp') received += data.length
    return undefined
  })
  const start = at.lab.clock.now()
  expect(await at.lab.until(failure(at.client.probe()))).toBe(code)
  expect(at.lab.clock.now() - start).toBeLessThanOrEqual(3100)
  expect(received).toBeLessThan(8 << 20)
  await at.lab.run(10_000)
  expect(at.timers.size).toBe(0)
})

it('a connection that is reset in the middle of a body is no answer', async () => {
  const at = await scene()
  at.igd.answer = ({ action }) => {
    if (action !== 'AddPortMapping') return undefined
    return (stream) => {
      stream.write(bytes(`${HEAD}Content-Length: 500\r\n\r\n<s:Envelope`))
      at.lab.after(5, () => stream.destroy())
    }
  }
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_ANSWER')
})

it.each([
  ['another action', envelope(`<u:DeletePortMappingResponse xmlns:u="${WAN1}"/>`)],
  ['nothing', ''],
  ['an empty envelope', envelope('')],
  ['a fault without a number', envelope('<s:Fault><detail><UPnPError/></detail></s:Fault>')],
  ['a number that is none', envelope('<s:Fault><detail><UPnPError><errorCode>x</errorCode></UPnPError></detail></s:Fault>')],
  ['too much', envelope(`<u:AddPortMappingResponse><a>${'x'.repeat(70_000)}</a></u:AddPortMappingResponse>`)],
])('an answer with %s is none', async (_what, body) => {
  const at = await scene()
  at.igd.answer = ({ action }) => (action === 'AddPortMapping' ? ok(body) : undefined)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_ANSWER')
})

it('a redirect is none, whatever comes with it', async () => {
  const at = await scene()
  at.igd.answer = (asked) => {
    return asked.action === 'AddPortMapping' ? at.igd.act(asked).replace('200 OK', '307 Temporary Redirect') : undefined
  }
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_ANSWER')
})

it('close ends a connection that is being made', async () => {
  const at = await scene()
  let sent = 0
  at.lab.filter(({ host, protocol }) => {
    if (host !== 'host' || protocol !== 'tcp') return undefined
    sent++
    return 'drop'
  })
  const probe = failure(at.client.probe())
  await at.lab.run(500)
  expect(sent).toBe(1)
  at.client.close()
  expect(await probe).toBe('ERR_CLOSED')
  const closing = sent
  await at.lab.run(20_000)
  expect(sent - closing).toBe(0)
})

it('a fault counts whatever the status around it', async () => {
  const at = await scene()
  at.igd.answer = ({ action }) => (action === 'AddPortMapping' ? faultOf(728).replace('500 Internal Server Error', '200 OK') : undefined)
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_CAPACITY')
})

it('chunked answers are read', async () => {
  const at = await scene()
  at.igd.answer = (asked) => {
    const whole = asked.method === 'GET' ? ok(at.igd.description()) : at.igd.act(asked)
    const [head = '', body = ''] = whole.split('\r\n\r\n')
    const size = (text: string): string => bytes(text).length.toString(16)
    const [one, two] = [body.slice(0, 20), body.slice(20)]
    return `${head.replace(/Content-Length: \d+/, 'Transfer-Encoding: chunked')}\r\n\r\n${size(one)}\r\n${one}\r\n${size(two)}\r\n${two}\r\n0\r\n\r\n`
  }
  expect((await at.lab.until(at.client.map(wanted(at)))).external.key).toBe('203.0.113.77:5001')
})

it('a router that takes its time over every answer does not hold a call for ever', async () => {
  const at = await scene()
  at.igd.services = Array.from({ length: 16 }, (_, i) => ({ type: WAN1, control: `/${i}` }))
  at.igd.answer = (asked) => {
    if (asked.method === 'GET') return undefined
    const answer = asked.action === 'AddPortMapping' ? faultOf(718) : at.igd.act(asked)
    return (stream) => {
      at.lab.after(2900, () => {
        stream.write(bytes(answer))
        stream.end()
      })
    }
  }
  const start = at.lab.clock.now()
  expect(await at.lab.until(failure(at.client.map(wanted(at))))).toBe('ERR_MAPPING_PORT')
  expect(at.lab.clock.now() - start).toBeLessThan(30_000)
})

it('loss delays but does not defeat it', async () => {
  const at = await scene({ seed: 5, link: { loss: 0.2 } })
  expect((await at.lab.until(at.client.map(wanted(at)))).external.port).toBe(5001)
})
