// The networks that two peers are put behind, as data for the virtual internet: shared by the grid (test/grid) and by bench/connect.js.
// Nothing here says who can meet whom: that follows from the options (test/grid/reachable.ts).

const fullCone = { mapping: 'EIM', filtering: 'EIF', ports: 'preserving' }
const addressRestricted = { mapping: 'EIM', filtering: 'ADF', ports: 'preserving' }
const portRestricted = { mapping: 'EIM', filtering: 'APDF', ports: 'preserving' }
const symmetric = { mapping: 'APDM', filtering: 'APDF', ports: 'random' }
const symmetricByAddress = { mapping: 'ADM', filtering: 'ADF', ports: 'random' }

const home = { nat: portRestricted }

// Carriers number their side from RFC 6598, every one from the same range.
const carrier = (nat) => ({ nat, lan: '100.64.0.0/16' })

/** One host's way out: its routers, the nearest first. */
export const KINDS = [
  { name: 'open', short: 'open', routers: [] },
  { name: 'stateful firewall', short: 'fw', routers: [{ nat: false }] },
  { name: 'full cone', short: 'full', routers: [{ nat: fullCone }] },
  { name: 'address-restricted', short: 'addr', routers: [{ nat: addressRestricted }] },
  { name: 'port-restricted', short: 'port', routers: [{ nat: portRestricted }] },
  { name: 'port-restricted, random ports', short: 'portR', routers: [{ nat: { ...portRestricted, ports: 'random' } }] },
  { name: 'symmetric by address', short: 'symA', routers: [{ nat: symmetricByAddress }] },
  { name: 'symmetric, sequential', short: 'symS', routers: [{ nat: { ...symmetric, ports: 'sequential' } }] },
  { name: 'symmetric, random', short: 'symR', routers: [{ nat: symmetric }] },
  { name: 'home behind CGN, full cone', short: 'c:full', routers: [home, carrier({ ...fullCone, ports: 'random' })] },
  { name: 'home behind CGN, address-restricted', short: 'c:addr', routers: [home, carrier({ ...addressRestricted, ports: 'random' })] },
  { name: 'home behind CGN, port-restricted', short: 'c:port', routers: [home, carrier(portRestricted)] },
  {
    name: 'home behind CGN, port-restricted, random ports',
    short: 'c:portR',
    routers: [home, carrier({ ...portRestricted, ports: 'random' })],
  },
  { name: 'home behind CGN, symmetric, sequential', short: 'c:symS', routers: [home, carrier({ ...symmetric, ports: 'sequential' })] },
  { name: 'home behind CGN, symmetric, port blocks', short: 'c:symB', routers: [home, carrier({ ...symmetric, ports: { block: 1024 } })] },
]

/** Builds the routers of a kind from the outside in, and gives the nearest; `outer` is what the last one stands behind. */
export function routersOf(lab, name, routers, outer) {
  return routers.reduceRight((behind, options, index) => lab.router(`${name}/${index}`, { ...options, behind }), outer)
}

/** A host behind routers of its own. */
export function hostBehind(lab, name, routers, options = {}) {
  return lab.host(name, { ...options, behind: routersOf(lab, name, routers, undefined) })
}

/** Every ordered pair of kinds. */
export const PAIRS = KINDS.flatMap((row) =>
  KINDS.map((column) => ({
    name: `${row.name} × ${column.name}`,
    row,
    column,
    build: (lab) => [hostBehind(lab, 'a', row.routers), hostBehind(lab, 'b', column.routers)],
  })),
)

/** Two hosts on one LAN. */
function sameLan({ name, routers }) {
  return {
    name: `same LAN: ${name}`,
    build: (lab) => {
      const behind = routersOf(lab, 'r', routers, undefined)
      return [lab.host('a', { behind }), lab.host('b', { behind })]
    },
  }
}

/** Two homes, or a home and a single host, behind one carrier's NAT. */
function sameCarrier({ name, routers }, hairpin, homeOfB = [home]) {
  const [outermost] = routers.slice(-1)
  return {
    name: `${homeOfB.length > 0 ? 'two homes' : 'home and phone'} behind one ${name.replace('home behind ', '')}${hairpin ? ', hairpin' : ''}`,
    build: (lab) => {
      const cgn = lab.router('cgn', { ...outermost, hairpin })
      return [lab.host('a', { behind: routersOf(lab, 'a', [home], cgn) }), lab.host('b', { behind: routersOf(lab, 'b', homeOfB, cgn) })]
    },
  }
}

/** Each side is its routers and the families of its host. */
function dual(name, a, b) {
  return {
    name,
    families: [4, 6],
    build: (lab) => [hostBehind(lab, 'a', a.routers, { families: a.families }), hostBehind(lab, 'b', b.routers, { families: b.families })],
  }
}

const behindCarrier = KINDS.filter(({ routers }) => routers.length === 2)
const behindOne = KINDS.filter(({ routers }) => routers.length === 1)

const v6only = (routers) => ({ routers, families: [6] })
const v4only = (routers) => ({ routers, families: [4] })
const both = (routers) => ({ routers, families: [4, 6] })
const hard = { nat: symmetric }
const reach = (filtering) => ({ ...hard, firewall: { filtering } })

const V6 = [
  dual('v6 behind stateful firewalls, v4 symmetric on both sides', both([hard]), both([hard])),
  dual('v6 behind stateful firewalls, no v4', v6only([home]), v6only([home])),
  dual('v6 in the open, no v4', v6only([]), v6only([])),
  dual('v6 in the open × behind a stateful firewall', v6only([]), v6only([home])),
  dual('v6 behind firewalls that filter by nothing × by port', v6only([reach('EIF')]), v6only([reach('APDF')])),
  dual('v6 behind firewalls that filter by address × by port', v6only([reach('ADF')]), v6only([reach('APDF')])),
  dual('v6 behind two firewalls × one', v6only([home, home]), v6only([home])),
  dual('dual stack × v6 only, v4 symmetric', both([hard]), v6only([home])),
  dual('v6 only × dual stack, v4 symmetric', v6only([home]), both([hard])),
  dual('dual stack × v6 only, all in the open', both([]), v6only([])),
  dual('dual stack × v4 only, both port-restricted', both([home]), v4only([home])),
  dual('dual stack symmetric × v4 only symmetric', both([hard]), v4only([hard])),
  dual('dual stack × dual stack, both port-restricted', both([home]), both([home])),
  dual('v4 only × v6 only', v4only([]), v6only([])),
]

const blocked = { ...home, blockUdp: true }

const BLOCKED = [
  { name: 'UDP blocked × open', build: (lab) => [hostBehind(lab, 'a', [blocked]), hostBehind(lab, 'b', [])] },
  { name: 'open × UDP blocked', build: (lab) => [hostBehind(lab, 'a', []), hostBehind(lab, 'b', [blocked])] },
  { name: 'UDP blocked × port-restricted', build: (lab) => [hostBehind(lab, 'a', [blocked]), hostBehind(lab, 'b', [home])] },
  { name: 'UDP blocked on both sides', build: (lab) => [hostBehind(lab, 'a', [blocked]), hostBehind(lab, 'b', [blocked])] },
  {
    name: 'UDP blocked at the carrier × full cone',
    build: (lab) => [hostBehind(lab, 'a', [home, blocked]), hostBehind(lab, 'b', [{ nat: fullCone }])],
  },
  sameLan({ name: 'UDP blocked at the router', routers: [blocked] }),
]

// Combinations that no name of RFC 3489 covers, where mapping and filtering pull in different directions.
const mixed = (mapping, filtering) => ({ nat: { mapping, filtering, ports: 'random' } })
const odd = (a, b) => ({
  name: `${a.join(' ')} × ${b.join(' ')}`,
  build: (lab) => [hostBehind(lab, 'a', [mixed(...a)]), hostBehind(lab, 'b', [mixed(...b)])],
})
const ODD = [
  odd(['ADM', 'EIF'], ['ADM', 'ADF']),
  odd(['ADM', 'EIF'], ['APDM', 'ADF']),
  odd(['APDM', 'EIF'], ['ADM', 'ADF']),
  odd(['APDM', 'EIF'], ['APDM', 'EIF']),
  odd(['ADM', 'ADF'], ['ADM', 'ADF']),
  odd(['ADM', 'EIF'], ['ADM', 'APDF']),
  odd(['APDM', 'EIF'], ['EIM', 'APDF']),
]

const alike = { ...home, lan: '192.168.1.0/24' }
const pool = (pooling) => ({ nat: { ...portRestricted, ports: 'random', pooling }, publicAddresses: 4 })

const SPECIAL = [
  { name: 'homes numbered alike', build: (lab) => [hostBehind(lab, 'a', [alike]), hostBehind(lab, 'b', [alike])] },
  {
    name: 'homes numbered alike behind one CGN that hairpins',
    build: (lab) => {
      const cgn = lab.router('cgn', { ...carrier({ ...fullCone, ports: 'random' }), hairpin: true })
      return [lab.host('a', { behind: routersOf(lab, 'a', [alike], cgn) }), lab.host('b', { behind: routersOf(lab, 'b', [alike], cgn) })]
    },
  },
  {
    name: 'several external addresses, paired',
    build: (lab) => [hostBehind(lab, 'a', [pool('paired')]), hostBehind(lab, 'b', [pool('paired')])],
  },
  {
    name: 'several external addresses, arbitrary',
    build: (lab) => [hostBehind(lab, 'a', [pool('arbitrary')]), hostBehind(lab, 'b', [pool('arbitrary')])],
  },
]

/** Cells that are more than a pair of kinds: what the two have in common, or another family, or a block, decides. */
export const RELATIONS = [
  ...[...behindOne, ...behindCarrier].map(sameLan),
  ...behindCarrier.flatMap((kind) => [sameCarrier(kind, false), sameCarrier(kind, true), sameCarrier(kind, false, [])]),
  ...V6,
  ...BLOCKED,
  ...ODD,
  ...SPECIAL,
]
