// Two peers meet in a cell of the virtual internet: two STUN servers, a signalling channel, and a message with its answer each way.
// The library comes in as an argument, so that tests run it from src/ and benchmarks from dist/.

const encode = (text) => new TextEncoder().encode(text)
const decode = (data) => new TextDecoder().decode(data)

/**
 * `patience`: virtual milliseconds until a cell counts as one without a path. `late`: how much later the second peer starts.
 * `delay`, `signalling`: virtual milliseconds one way between two attachments of the internet, and of the channel.
 * `weather`: what else is wrong with the internet's links; `channel`: with the signalling. Data may be lost then: `goal: 'paths'`, or `again`:
 * milliseconds after which an unanswered question is asked again. `relays`: puts relays there, and gives what `servers` takes for them. `linger`: virtual milliseconds from reaching the goal to the end.
 */
export async function meetIn({ createLab, createTraversal, createStunServer }, cell, options = {}) {
  const { seed = 1, patience = 8_000, delay = 20, signalling = 20, late = 0, goal = 'answers' } = options
  const { again, linger = 0, weather, channel, inspect, relays } = options
  const lab = createLab({ ...weather, seed, delay, families: cell.families ?? [4] })
  const ips = []
  for (const name of ['stun1', 'stun2']) {
    const network = lab.host(name)
    const addresses = network.addresses.map(({ ip }) => ip)
    await createStunServer({ network, addresses })
    ips.push(...addresses)
  }
  // By address: a name would cost a look-up, which the floors do not count.
  const servers = ips.map((ip) => (ip.includes(':') ? `stun:[${ip}]:3478` : `stun:${ip}:3478`))
  servers.push(...((await relays?.(lab)) ?? []))
  const hosts = cell.build(lab)
  const judged = inspect?.(hosts, ips, lab)
  const ends = lab.channel({ ...channel, delay: signalling })
  const startedAt = lab.clock.now()
  const open = (index) => openSide(lab, hosts[index], createTraversal, servers, startedAt, ends[index], again)
  const [a, b] =
    late > 0
      ? [await lab.until(open(0)), await lab.run(late).then(() => lab.until(open(1)))]
      : await lab.until(Promise.all([open(0), open(1)]))
  const limit = new Promise((resolve) => lab.after(patience, resolve))
  const reached = goal === 'answers' ? [a.answered, b.answered] : [a.session.ready, b.session.ready]
  await lab.until(Promise.race([Promise.all(reached), limit]))
  await lab.run(linger)
  const sides = [a, b].map(report)
  const explanations = [a, b].map(({ session }) => session.explain())
  await lab.until(Promise.all([a.traversal.close(), b.traversal.close()]))
  return { sides, judged, explanations, lab }
}

async function openSide(lab, host, createTraversal, servers, startedAt, end, again) {
  const traversal = await createTraversal({ network: host, servers })
  const session = traversal.connect({ peer: 'the other' })
  const side = { traversal, session, firstPath: undefined, readyAt: undefined, heardAt: undefined, answeredAt: undefined, inbox: [] }
  const since = () => lab.clock.now() - startedAt
  session.once('path', (path) => {
    side.firstPath = path
    side.readyAt = since()
    if (again !== undefined) lab.after(again, ask)
  })
  // Until there is a path the session keeps the first question.
  const ask = () => {
    if (side.answeredAt !== undefined || session.state === 'closed') return
    session.send(encode('question'))
    lab.after(again, ask)
  }
  side.answered = new Promise((resolve) => {
    session.on('message', (data) => {
      const text = decode(data)
      side.inbox.push(text)
      if (text === 'question') {
        side.heardAt ??= since()
        session.send(encode('answer'))
      } else if (text === 'answer') {
        side.answeredAt ??= since()
        resolve()
      }
    })
  })
  session.send(encode('question'))
  session.on('signal', (signal) => end.send(JSON.stringify(signal)))
  end.onMessage((text) => session.signal(JSON.parse(text)))
  return side
}

function report({ session, firstPath, readyAt, heardAt, answeredAt, inbox }) {
  return { firstPath, path: session.path, state: session.state, readyAt, heardAt, answeredAt, inbox }
}
