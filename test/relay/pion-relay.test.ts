/** Our client on pion's server, which is also STUNner's: it leaves out the integrity of errors, and answers 400 to a wrong password. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { allocationOf, closeAll, echo, open, talk, until } from './real-client.ts'

const GO_SOURCES = '/usr/share/gocode'
const NEEDS = {
  commands: { go: 'golang-go' },
  also: { "pion's relay (Debian: golang-github-pion-turn.v2-dev)": existsSync(`${GO_SOURCES}/src/github.com/pion/turn/v2`) },
}

afterEach(closeAll)

describe('C66 C67 C68 on pion', requires(NEEDS), () => {
  let folder: string
  let relay: ChildProcess
  let ports: { readonly udp: number; readonly tcp: number }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'pion-relay-'))
    const program = join(folder, 'relay')
    const env = { ...process.env, GO111MODULE: 'off', GOPATH: GO_SOURCES, CGO_ENABLED: '0' }
    execFileSync('go', ['build', '-o', program, fileURLToPath(new URL('pion_relay.go', import.meta.url))], { env })
    relay = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
    const line = await new Promise<string>((resolve, reject) => {
      relay.once('error', reject)
      relay.stdout?.once('data', (text: Buffer) => resolve(text.toString()))
    })
    const [udp = 0, tcp = 0] = line.trim().split(' ').map(Number)
    ports = { udp, tcp }
  })

  afterAll(() => {
    relay?.kill()
    rmSync(folder, { recursive: true, force: true })
  })

  it.each(['udp', 'tcp'] as const)('over %s: an allocation, and data intact both ways', async (transport) => {
    const client = open(`turn:127.0.0.1:${ports[transport]}?transport=${transport}`)
    const allocation = await allocationOf(client)
    // Over TCP pion 2.1 does not look at a frame before nine bytes are there: a shorter one waits for the next.
    await talk(client, allocation, await echo(4), [5, 6, 7, 8, 9, 100, 547, 1199, 1200])
    allocation.verify()
    await until('an answer', () => allocation.status().requests.requests > 3)
    expect(client.told).toEqual(['measured', 'allocated'])
  })

  it('a wrong password is told as such', async () => {
    const client = open(`turn:127.0.0.1:${ports.udp}`, { credentials: async () => ({ username: 'alice', password: 'no' }) })
    await until('a failure', () => client.told.includes('failed ERR_RELAY_CREDENTIALS'))
  })

  it('an IPv4 allocation where IPv6 was wanted is refused', async () => {
    const client = open(`turn:127.0.0.1:${ports.udp}`, { families: [6] })
    await until('a failure', () => client.told.includes('failed ERR_RELAY_FAMILY'))
  })
})
