import { describe, expect, it } from 'vitest'
import { assertHostPolicy, chooseHostAddresses, type HostPolicy } from '../../src/candidates/host.ts'
import { Address, type DefaultRoute, type Family, type InterfaceAddress } from '../../src/net/index.ts'

/** `eth0 192.168.1.2/24`, with flags after it. */
function entry(text: string): InterfaceAddress {
  const [, name = '', cidr = '', flags = ''] = /^(.+?) (\S+\/\d+)(?: (.*))?$/.exec(text) ?? []
  const [ip = '', length = ''] = cidr.split('/')
  return {
    name,
    address: Address.of(ip, 0),
    prefixLength: Number(length),
    internal: flags.includes('internal'),
    temporary: flags.includes('temporary'),
    deprecated: flags.includes('deprecated'),
  }
}

function choose(lines: string[], policy?: HostPolicy, routes?: readonly DefaultRoute[]) {
  const { chosen, rejected } = chooseHostAddresses(lines.map(entry), policy, routes)
  return {
    chosen: chosen.map(({ address }) => address.address.ip),
    ranks: chosen.map(({ rank }) => rank),
    rejected: Object.fromEntries(rejected.map(({ address, reason }) => [address.address.ip, reason])),
  }
}

function route(name: string, family: Family = 4): DefaultRoute {
  return { family, name, gateway: undefined }
}

const LOOPBACK = ['lo 127.0.0.1/8 internal', 'lo ::1/128 internal']

describe('addresses that need no rule', () => {
  it('are all chosen, each under a rank of its own', () => {
    const { chosen, ranks, rejected } = choose(['eth0 192.168.1.2/24', 'eth0 2a00:1::2/64', 'wlan0 10.0.0.2/8'])
    expect(chosen).toEqual(['2a00:1::2', '192.168.1.2', '10.0.0.2'])
    expect(ranks).toEqual([0, 1, 2])
    expect(rejected).toEqual({})
  })

  it('appear once, however often the system lists them', () => {
    expect(choose(['eth0 192.168.1.2/24', 'eth0:1 192.168.1.2/24'])).toMatchObject({ chosen: ['192.168.1.2'] })
    expect(chooseHostAddresses(['eth0 192.168.1.2/24', 'eth0:1 192.168.1.2/24'].map(entry)).rejected[0]?.reason).toBe('duplicate')
  })

  it('are none when there are none', () => {
    expect(choose([])).toEqual({ chosen: [], ranks: [], rejected: {} })
  })

  it('lose none: every address is chosen or rejected with a reason', () => {
    const lines = [...LOOPBACK, 'docker0 172.17.0.1/16', 'eth0 192.168.1.2/24', 'eth0 fe80::1%eth0/64', 'tailscale0 100.101.1.1/32']
    const { chosen, rejected } = chooseHostAddresses(lines.map(entry))
    expect(chosen.length + rejected.length).toBe(lines.length)
  })
})

describe('addresses that cannot be used', () => {
  it.each([
    ['eth0 fec0::1/64', 'site-local'],
    ['eth0 0.0.0.0/0', 'unusable'],
    ['eth0 255.255.255.255/32', 'unusable'],
    ['eth0 ff02::1/128', 'unusable'],
    ['sit0 ::10.0.0.1/96', 'unusable'],
  ])('RFC 8445 5.1.1.1: %s is left out as %s, even when included', (line, reason) => {
    const ip = entry(line).address.ip
    expect(choose([line], { include: ['*'] }).rejected).toEqual({ [ip]: reason })
  })
})

describe('loopback', () => {
  it('RFC 8445 5.1.1.1: is left out, even when there is nothing else', () => {
    expect(choose(LOOPBACK)).toEqual({ chosen: [], ranks: [], rejected: { '127.0.0.1': 'loopback', '::1': 'loopback' } })
  })

  it('goes by the interface too: an address of any range on it is left out', () => {
    expect(choose(['lo 10.9.9.9/32 internal']).rejected).toEqual({ '10.9.9.9': 'loopback' })
  })

  it('is offered on request, behind every other address', () => {
    expect(choose([...LOOPBACK, 'eth0 192.168.1.2/24'], { loopback: true }).chosen).toEqual(['192.168.1.2', '::1', '127.0.0.1'])
  })

  it('is offered one address at a time by naming it', () => {
    expect(choose(LOOPBACK, { include: ['127.0.0.1'] }).chosen).toEqual(['127.0.0.1'])
  })
})

describe('interfaces of guests and overlays', () => {
  it.each([
    ['docker0 172.17.0.1/16', 'container-interface'],
    ['docker_gwbridge 172.18.0.1/16', 'container-interface'],
    ['br-0123456789ab 172.19.0.1/16', 'container-interface'],
    ['vethf00d 169.254.1.1/16', 'container-interface'],
    ['cni0 10.42.0.1/24', 'container-interface'],
    ['flannel.1 10.42.0.0/32', 'container-interface'],
    ['cali1234 10.1.1.1/32', 'container-interface'],
    ['podman0 10.88.0.1/16', 'container-interface'],
    ['lxcbr0 10.0.3.1/24', 'container-interface'],
    ['lxdbr0 10.0.4.1/24', 'container-interface'],
    ['vEthernet (WSL (Hyper-V firewall)) 172.28.0.1/20', 'container-interface'],
    ['virbr0 192.168.122.1/24', 'virtual-machine-interface'],
    ['vmnet8 172.16.8.1/24', 'virtual-machine-interface'],
    ['vboxnet0 192.168.56.1/24', 'virtual-machine-interface'],
    ['bridge100 192.168.64.1/24', 'virtual-machine-interface'],
    ['vEthernet (Default Switch) 172.20.0.1/20', 'virtual-machine-interface'],
    ['VMware Network Adapter VMnet8 192.168.8.1/24', 'virtual-machine-interface'],
    ['tailscale0 100.101.102.103/32', 'overlay-network'],
    ['Tailscale 100.101.102.104/32', 'overlay-network'],
    ['zt7nnig26h 10.147.17.1/24', 'overlay-network'],
    ['wt0 100.90.0.1/16', 'overlay-network'],
    ['utun4 100.101.102.103/32', 'overlay-network'],
    ['utun4 fd7a:115c:a1e0::1/48', 'overlay-network'],
    ['ygg0 200:1::1/7', 'overlay-network'],
  ])('%s is left out as %s, and comes back when included', (line, reason) => {
    const { name, address } = entry(line)
    expect(choose([line]).rejected).toEqual({ [address.ip]: reason })
    expect(choose([line], { include: [name] }).chosen).toEqual([address.ip])
    expect(choose([line], { include: [`${address.ip}/${address.family === 4 ? 32 : 128}`] }).chosen).toEqual([address.ip])
  })

  it.each([
    ['a carrier gives it out on its access line', 'wwan0 100.70.1.2/30'],
    ["it is a router's own bridge", 'br-lan 192.168.1.1/24'],
    ['a company numbers its offices so', 'eth0 172.17.0.5/16'],
    ['a plain tunnel may be the only way out', 'wg0 10.64.0.2/32'],
    ['a VPN on macOS may be the only way out', 'utun3 10.8.0.6/24'],
    ['an external switch is the way out', 'vEthernet (External) 192.168.1.2/24'],
    ['Thunderbolt bridges are cables', 'bridge0 10.0.9.1/24'],
  ])('but not where %s: %s', (_why, line) => {
    expect(choose([line]).chosen).toEqual([entry(line).address.ip])
  })
})

describe('link-local addresses', () => {
  it('of IPv4 are left out beside any other address', () => {
    expect(choose(['eth0 169.254.7.7/16', 'wlan0 192.168.1.2/24']).rejected).toEqual({ '169.254.7.7': 'link-local' })
    expect(choose(['eth0 169.254.7.7/16', 'wlan0 2a00:1::2/64']).rejected).toEqual({ '169.254.7.7': 'link-local' })
  })

  it('of IPv4 are offered when they are all the host has', () => {
    expect(choose([...LOOPBACK, 'docker0 172.17.0.1/16', 'eth0 169.254.7.7/16']).chosen).toEqual(['169.254.7.7'])
  })

  it('of IPv6 are offered only on request, and rank behind', () => {
    const lines = ['eth0 fe80::1%eth0/64', 'eth0 192.168.1.2/24']
    expect(choose(lines).rejected).toEqual({ 'fe80::1': 'link-local' })
    expect(choose(['eth0 fe80::1%eth0/64']).chosen).toEqual([])
    expect(choose(lines, { linkLocal: true }).chosen).toEqual(['192.168.1.2', 'fe80::1'])
    expect(choose(lines, { include: ['fe80::/10'] }).chosen).toEqual(['192.168.1.2', 'fe80::1'])
  })

  it('of either family stay out when refused', () => {
    expect(choose(['eth0 169.254.7.7/16'], { linkLocal: false }).rejected).toEqual({ '169.254.7.7': 'link-local' })
  })
})

describe('deprecated addresses', () => {
  it('RFC 6724 5: give way to another of the same reach on their interface', () => {
    expect(choose(['eth0 2a00:1::2/64 deprecated', 'eth0 2a00:2::2/64'])).toMatchObject({
      chosen: ['2a00:2::2'],
      rejected: { '2a00:1::2': 'deprecated' },
    })
  })

  it.each([
    ['there is nothing else', ['eth0 2a00:1::2/64 deprecated']],
    ['the other is of shorter reach', ['eth0 2a00:1::2/64 deprecated', 'eth0 fd00::2/64']],
    ['the other is on another network', ['eth0 2a00:1::2/64 deprecated', 'wlan0 2a00:2::2/64']],
  ])('are offered, last, where %s', (_why, lines) => {
    expect(choose(lines).chosen.at(-1)).toBe('2a00:1::2')
  })
})

describe('temporary addresses', () => {
  it('RFC 8445 5.1.1.1: replace the stable ones of their prefix', () => {
    const { chosen, rejected } = choose(['eth0 2a00:1::10/64', 'eth0 2a00:1::abcd/64 temporary', 'eth0 2a00:1::99/128'])
    expect(chosen).toEqual(['2a00:1::abcd'])
    expect(rejected).toEqual({ '2a00:1::10': 'temporary-preferred', '2a00:1::99': 'temporary-preferred' })
  })

  it('leave other prefixes and other interfaces alone', () => {
    const lines = ['eth0 2a00:1::abcd/64 temporary', 'eth0 2a00:2::10/64', 'eth0 fd00::10/64', 'wlan0 2a00:1::10/64']
    expect(choose(lines).rejected).toEqual({})
  })

  it('RFC 8981: step back for the stable one once they are deprecated', () => {
    expect(choose(['eth0 2a00:1::10/64', 'eth0 2a00:1::abcd/64 temporary deprecated']).chosen).toEqual(['2a00:1::10'])
  })

  it('are not looked at when the caller refused them', () => {
    const accept = ({ temporary }: InterfaceAddress): boolean => !temporary
    expect(choose(['eth0 2a00:1::10/64', 'eth0 2a00:1::abcd/64 temporary'], { accept }).chosen).toEqual(['2a00:1::10'])
  })
})

describe("the caller's policy", () => {
  it('excludes by exact name, by the start of a name, and by range', () => {
    const lines = ['eth0 192.168.1.2/24', 'eth1 192.168.2.2/24', 'wlan0 10.0.0.2/8']
    expect(choose(lines, { exclude: ['eth0'] }).chosen).toEqual(['192.168.2.2', '10.0.0.2'])
    expect(choose(lines, { exclude: ['eth*'] }).chosen).toEqual(['10.0.0.2'])
    expect(choose(lines, { exclude: ['192.168.0.0/16'] }).chosen).toEqual(['10.0.0.2'])
    expect(choose(lines, { exclude: ['eth'] }).chosen).toHaveLength(3)
  })

  it('excludes what it also includes', () => {
    expect(choose(['docker0 172.17.0.1/16'], { include: ['docker*'], exclude: ['docker0'] }).rejected).toEqual({ '172.17.0.1': 'excluded' })
  })

  it('has the last word, and is asked only about what is left', () => {
    const asked: string[] = []
    const accept = ({ address }: InterfaceAddress): boolean => {
      asked.push(address.ip)
      return false
    }
    expect(choose(['docker0 172.17.0.1/16', 'eth0 192.168.1.2/24'], { accept }).rejected['192.168.1.2']).toBe('not-accepted')
    expect(asked).toEqual(['192.168.1.2'])
  })

  it('limits the families', () => {
    expect(choose(['eth0 192.168.1.2/24', 'eth0 2a00:1::2/64'], { families: [6] })).toMatchObject({
      chosen: ['2a00:1::2'],
      rejected: { '192.168.1.2': 'family-not-wanted' },
    })
  })

  it('limits the number of each family, and drops the least preferred', () => {
    const lines = Array.from({ length: 7 }, (_, i) => `eth${i} 10.0.${i}.2/24`)
    const { chosen, rejected } = choose([...lines, 'eth0 2a00:1::2/64'], {}, [route('eth6')])
    expect(chosen).toEqual(['2a00:1::2', '10.0.6.2', '10.0.0.2', '10.0.1.2', '10.0.2.2', '10.0.3.2'])
    expect(rejected).toEqual({ '10.0.4.2': 'over-limit', '10.0.5.2': 'over-limit' })
    expect(choose(lines, { limit: 1 }).chosen).toEqual(['10.0.0.2'])
  })
})

describe('the order', () => {
  it('C03 RFC 8421: lets the families take turns, IPv6 first', () => {
    const lines = ['eth0 10.0.0.2/8', 'eth1 10.1.0.2/8', 'eth0 2a00:1::2/64', 'eth1 2a00:2::2/64', 'eth2 2a00:3::2/64']
    expect(choose(lines).chosen).toEqual(['2a00:1::2', '10.0.0.2', '2a00:2::2', '10.1.0.2', '2a00:3::2'])
  })

  it('begins with the interface of the default route, for each family its own', () => {
    const lines = ['eth0 10.0.0.2/8', 'wlan0 192.168.1.2/24', 'eth0 2a00:1::2/64', 'wlan0 2a00:2::2/64']
    expect(choose(lines, {}, [route('wlan0', 4), route('eth0', 6)]).chosen).toEqual(['2a00:1::2', '192.168.1.2', '2a00:2::2', '10.0.0.2'])
  })

  it('follows the order of several default routes', () => {
    const lines = ['eth0 10.0.0.2/8', 'eth1 10.1.0.2/8', 'eth2 10.2.0.2/8']
    expect(choose(lines, {}, [route('eth2'), route('eth1')]).chosen).toEqual(['10.2.0.2', '10.1.0.2', '10.0.0.2'])
  })

  it('puts a tunnel behind cables, unless the default route leaves by it', () => {
    const lines = ['tun0 10.8.0.6/24', 'eth0 192.168.1.2/24']
    expect(choose(lines).chosen).toEqual(['192.168.1.2', '10.8.0.6'])
    expect(choose(lines, {}, [route('tun0'), route('eth0')]).chosen).toEqual(['10.8.0.6', '192.168.1.2'])
  })

  it('puts the wider reach first on one interface', () => {
    expect(choose(['eth0 fd00::2/64', 'eth0 2a00:1::2/64']).chosen).toEqual(['2a00:1::2', 'fd00::2'])
  })

  it('C02: gives no rank twice', () => {
    const lines = Array.from({ length: 5 }, (_, i) => [`eth${i} 10.0.${i}.2/24`, `eth${i} 2a00:${i + 1}::2/64`]).flat()
    expect(choose(lines).ranks).toEqual(Array.from({ length: 10 }, (_, i) => i))
  })
})

describe('a policy from outside', () => {
  it('is taken when it makes sense', () => {
    const policy: unknown = {
      loopback: true,
      linkLocal: false,
      include: ['wg*', '10.0.0.0/8', '::1'],
      exclude: [],
      families: [4],
      limit: 3,
    }
    expect(() => assertHostPolicy(policy)).not.toThrow()
    expect(() => assertHostPolicy({ accept: () => true, limit: undefined })).not.toThrow()
  })

  it.each([
    [null, 'hosts:'],
    [[], 'hosts:'],
    ['eth0', 'hosts:'],
    [{ loopback: 1 }, 'hosts.loopback:'],
    [{ linkLocal: 'yes' }, 'hosts.linkLocal:'],
    [{ include: 'eth0' }, 'hosts.include:'],
    [{ include: [4] }, 'hosts.include:'],
    [{ include: ['e*h0'] }, 'hosts.include:'],
    [{ exclude: [''] }, 'hosts.exclude:'],
    [{ exclude: ['10.0.0.0/33'] }, 'hosts.exclude:'],
    [{ exclude: ['10.0.0/8'] }, 'hosts.exclude:'],
    [{ accept: true }, 'hosts.accept:'],
    [{ families: [] }, 'hosts.families:'],
    [{ families: [5] }, 'hosts.families:'],
    [{ limit: 0 }, 'hosts.limit:'],
    [{ limit: 1.5 }, 'hosts.limit:'],
    [{ excludes: [] }, 'hosts.excludes: no such option'],
  ])('is refused with the name of the option: %j', (policy, message) => {
    expect(() => assertHostPolicy(policy)).toThrow(TypeError)
    expect(() => assertHostPolicy(policy)).toThrow(message)
  })
})
