import { describe, expect, it } from 'vitest'
import type { DefaultRoute } from '../../../src/net/index.ts'
import { parseNetstat, parseProcIpv6Route, parseProcRoute, parseRoutePrint } from '../../../src/net/node/route-tables.ts'

function brief(routes: readonly DefaultRoute[]): string[] {
  return routes.map(({ family, name, gateway }) => `${family} ${name} ${gateway === undefined ? '-' : gateway.key.replace(/:0$/, '')}`)
}

describe('/proc/net/route', () => {
  const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n'

  it('gives the default routes, the smallest metric first', () => {
    const text = `${HEAD}wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\tFE00000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t000000FF\t0\t0\t0
`
    expect(brief(parseProcRoute(text, true))).toEqual(['4 eth0 10.0.0.254', '4 wlan0 192.168.1.1'])
  })

  it('is read in the byte order of the machine', () => {
    expect(brief(parseProcRoute(`${HEAD}eth0\t00000000\t0A0000FE\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`, false))).toEqual([
      '4 eth0 10.0.0.254',
    ])
  })

  it('gives no router on a point-to-point link', () => {
    expect(brief(parseProcRoute(`${HEAD}ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n`, true))).toEqual(['4 ppp0 -'])
  })

  it('puts a VPN that took over with two halves first', () => {
    const text = `${HEAD}eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
tun0\t00000000\t0100080A\t0003\t0\t0\t50\t00000080\t0\t0\t0
tun0\t00000080\t0100080A\t0003\t0\t0\t50\t00000080\t0\t0\t0
`
    expect(brief(parseProcRoute(text, true))).toEqual(['4 tun0 10.8.0.1', '4 eth0 192.168.1.1'])
  })

  it('gives none that is down or a refusal', () => {
    const text = `${HEAD}eth0\t00000000\t0101A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0
*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0
`
    expect(parseProcRoute(text, true)).toEqual([])
  })

  it.each(['', HEAD, 'nonsense\n', 'eth0\t0000\t\n'])('gives none out of %j', (text) => {
    expect(parseProcRoute(text, true)).toEqual([])
  })
})

describe('/proc/net/ipv6_route', () => {
  const ZERO = '0'.repeat(32)
  const line = (destination: string, length: string, hop: string, metric: string, flags: string, name: string): string =>
    `${destination} ${length} ${ZERO} 00 ${hop} ${metric} 00000001 00000000 ${flags} ${name.padStart(8)}\n`

  it('gives the default routes, with the zone of a link-local router', () => {
    const text =
      line('20010db8000000000000000000000000', '40', ZERO, '00000100', '00000001', 'eth0') +
      line(ZERO, '00', `fe80${'0'.repeat(27)}1`, '00000400', '00000003', 'wlan0') +
      line(ZERO, '00', `20010db8${'0'.repeat(23)}1`, '00000064', '00000003', 'eth0') +
      line(ZERO, '00', ZERO, 'ffffffff', '00200200', 'lo')
    expect(brief(parseProcIpv6Route(text))).toEqual(['6 eth0 [2001:db8::1]', '6 wlan0 [fe80::1%wlan0]'])
  })

  it('gives one for a tunnel that takes all global addresses', () => {
    expect(brief(parseProcIpv6Route(line(`2${'0'.repeat(31)}`, '03', ZERO, '00000001', '00000001', 'tun0')))).toEqual(['6 tun0 -'])
  })

  it('lists a router once, however many routes lead to it', () => {
    const one = line(ZERO, '00', `fe80${'0'.repeat(27)}1`, '00000400', '00000003', 'eth0')
    expect(parseProcIpv6Route(one + one)).toHaveLength(1)
  })

  it.each(['', 'nonsense\n'])('gives none out of %j', (text) => {
    expect(parseProcIpv6Route(text)).toEqual([])
  })
})

describe('netstat -rn', () => {
  const MACOS = `Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.1.1        UGScg                 en0
default            link#22            UCSIg           bridge100      !
default            10.0.0.1           UGScIg                en7
127                127.0.0.1          UCS                   lo0
192.168.1          link#6             UCS                   en0      !

Internet6:
Destination                             Gateway                                 Flags               Netif Expire
default                                 fe80::1%en0                             UGcg                  en0
default                                 fe80::%utun0                            UGcIg               utun0
::1                                     ::1                                     UHL                   lo0
`

  it('gives the routes of macOS, those of one interface only last', () => {
    expect(brief(parseNetstat(MACOS))).toEqual([
      '4 en0 192.168.1.1',
      '6 en0 [fe80::1%en0]',
      '4 bridge100 -',
      '4 en7 10.0.0.1',
      '6 utun0 [fe80::%utun0]',
    ])
  })

  it('puts a VPN with two halves first', () => {
    const vpn = MACOS.replace('127  ', '0/1                10.8.0.1           UGScg               utun4\n127  ')
    expect(brief(parseNetstat(vpn))[0]).toBe('4 utun4 10.8.0.1')
  })

  it('finds the interface of FreeBSD by its heading', () => {
    const text = `Routing tables

Internet:
Destination        Gateway            Flags     Refs     Mtu    Netif Expire
default            10.0.2.2           UGS          4    1500      em0
`
    expect(brief(parseNetstat(text))).toEqual(['4 em0 10.0.2.2'])
  })

  it('gives no router that refuses', () => {
    expect(parseNetstat(MACOS.replaceAll('UGScg', 'UGSRc').replaceAll('UGcg', 'UGBc')).some(({ name }) => name === 'en0')).toBe(false)
  })

  it.each(['', 'netstat: not found\n'])('gives none out of %j', (text) => {
    expect(parseNetstat(text)).toEqual([])
  })
})

describe('route print', () => {
  const names = {
    byIp: (ip: string) => ({ '192.168.1.20': 'Ethernet', '10.8.0.6': 'VPN' })[ip],
    byIndex: (index: number) => ({ 12: 'Ethernet', 7: 'WLAN' })[index],
  }
  const WINDOWS = [
    '===========================================================================',
    'Schnittstellenliste',
    ' 12...00 15 5d 01 02 03 ......Intel(R) Ethernet Connection',
    '  1...........................Software Loopback Interface 1',
    'IPv4-Routentabelle',
    '===========================================================================',
    'Aktive Routen:',
    '     Netzwerkziel    Netzwerkmaske          Gateway    Schnittstelle Metrik',
    '          0.0.0.0          0.0.0.0      192.168.1.1     192.168.1.20     25',
    '          0.0.0.0        128.0.0.0   Auf Verbindung         10.8.0.6      5',
    '        127.0.0.0        255.0.0.0   Auf Verbindung        127.0.0.1    331',
    'Ständige Routen:',
    '  Netzwerkadresse          Netzmaske  Gatewayadresse  Metrik',
    '          0.0.0.0          0.0.0.0      192.168.1.1       1',
    'IPv6-Routentabelle',
    ' If Metrik Netzwerkziel             Gateway',
    ' 12    281 ::/0                     fe80::a:b:c:d',
    '  7    500 ::/0                     ',
    '                                    2001:db8:1111:2222:3333:4444:5555:6666',
    '  1    331 ::1/128                  Auf Verbindung',
    '',
  ].join('\r\n')

  it('gives the routes in any language, the persistent ones not twice', () => {
    expect(brief(parseRoutePrint(WINDOWS, names))).toEqual([
      '4 VPN -',
      '4 Ethernet 192.168.1.1',
      '6 Ethernet [fe80::a:b:c:d%12]',
      '6 WLAN [2001:db8:1111:2222:3333:4444:5555:6666]',
    ])
  })

  it('gives none by an interface that is gone', () => {
    expect(parseRoutePrint(WINDOWS, { byIp: () => undefined, byIndex: () => undefined })).toEqual([])
  })
})
