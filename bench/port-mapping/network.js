// @ts-check
/**
 * Homes with a real router each, and a host outside: the network namespaces and miniupnpd of `test/kernel`, which are TypeScript and are
 * taken as they are, types stripped, into a temporary folder.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'

const SOURCES = ['namespaces.ts', 'places.ts', 'json-program.ts', 'knocker.ts', 'miniupnpd.ts']

/**
 * @typedef {import('../../test/kernel/namespaces.ts').KernelNet} KernelNet
 * @typedef {import('../../test/kernel/namespaces.ts').Node} Node
 * @typedef {import('../../test/kernel/namespaces.ts').Router} Router
 * @typedef {import('../../test/kernel/miniupnpd.ts').Miniupnpd} Miniupnpd
 * @typedef {import('../../test/kernel/miniupnpd.ts').MiniupnpdOptions} MiniupnpdOptions
 * @typedef {import('../../test/kernel/miniupnpd.ts').Opening} Opening
 * @typedef {import('../../test/kernel/knocker.ts').Knocker} Knocker
 */

/** A router, the host that a contestant runs on, a neighbour that takes ports, and somebody outside. */
export class Home {
  /** @param {Network} network @param {Router} router @param {Node} host @param {Knocker} neighbour @param {Node} beside @param {Knocker} outside */
  constructor(network, router, host, neighbour, beside, outside) {
    this.network = network
    this.router = router
    this.host = host
    this.neighbour = neighbour
    this.beside = beside
    this.outside = outside
    /** @type {Miniupnpd | undefined} */
    this.daemon = undefined
  }

  /** The router as new, with these protocols; nothing is mapped. @param {MiniupnpdOptions} options */
  async begin(options) {
    const { Miniupnpd, net } = this.network
    if (this.daemon === undefined) {
      this.daemon = await Miniupnpd.start(net, this.router, options)
    } else {
      await this.daemon.kill()
      await this.daemon.start(options)
    }
    await this.loseNothing()
    return this.daemon
  }

  /** The first packet of each kind to the router does not get there: NAT-PMP, PCP, SSDP over IPv4. */
  async loseFirst() {
    const kinds = ['udp dport 5351 @th,64,8 0', 'udp dport 5351 @th,64,8 2', 'meta nfproto ipv4 udp dport 1900']
    const rules = kinds.map((kind) => `iifname lan ${kind} numgen inc mod 1000000 0 counter drop`)
    await this.network.net.rules(
      this.router,
      `table inet loss {\n  chain input { type filter hook input priority filter - 10; policy accept; ${rules.join('; ')}; }\n}`,
    )
  }

  async loseNothing() {
    await this.network.net.rules(this.router, 'table inet loss\ndelete table inet loss')
  }

  /** Somebody else at home has the port. @param {number} port */
  async occupy(port) {
    const { ip4 } = this.beside
    await this.network.net.output(
      this.beside,
      'upnpc',
      '-u',
      String(this.daemon?.description),
      '-a',
      ip4,
      `${port}`,
      `${port}`,
      'udp',
      '3600',
    )
  }
}

export class Network {
  /** @param {KernelNet} net @param {string} folder @param {typeof import('../../test/kernel/miniupnpd.ts').Miniupnpd} Miniupnpd @param {typeof import('../../test/kernel/knocker.ts').Knocker} Knocker */
  constructor(net, folder, Miniupnpd, Knocker) {
    this.net = net
    this.folder = folder
    this.Miniupnpd = Miniupnpd
    this.Knocker = Knocker
    /** @type {Home[]} */
    this.homes = []
  }

  static async create() {
    // Beside the sources, so that they find the same dependencies as there.
    const folder = mkdtempSync(join(tmpdir(), 'port-mapping-'))
    const kernel = join(folder, 'test', 'kernel')
    mkdirSync(kernel, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    const origin = fileURLToPath(new URL('../../test/kernel/', import.meta.url))
    for (const name of SOURCES) writeFileSync(join(kernel, name.replace(/ts$/, 'js')), strip(readFileSync(join(origin, name), 'utf8')))
    writeFileSync(join(kernel, 'knock-peer.js'), readFileSync(join(origin, 'knock-peer.js')))
    /** @param {string} name */
    const load = (name) => import(pathToFileURL(join(kernel, name)).href)
    const [{ KernelNet }, { Miniupnpd }, { Knocker }] = await Promise.all(['namespaces.js', 'miniupnpd.js', 'knocker.js'].map(load))
    return new Network(await KernelNet.create(), folder, Miniupnpd, Knocker)
  }

  /** @param {string} name */
  async home(name) {
    const { net, Knocker } = this
    const router = await net.router(`${name}-router`)
    const host = await net.host(name, { behind: router })
    const beside = await net.host(`${name}-beside`, { behind: router })
    const outside = await net.host(`${name}-outside`)
    const home = new Home(this, router, host, new Knocker(net, beside), beside, new Knocker(net, outside))
    this.homes.push(home)
    return home
  }

  async close() {
    await Promise.all(this.homes.map(({ daemon }) => daemon?.remove()))
    await this.net.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** @param {string} source */
function strip(source) {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    },
  })
  return outputText
}
