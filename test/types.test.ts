import type { Socket } from 'node:dgram'
import { expectTypeOf, it } from 'vitest'
import {
  type Clock,
  type createTraversal,
  type ErrorCode,
  type Explanation,
  nodeNetwork,
  type Path,
  SallyportError,
  type Session,
  type SessionState,
  type Signal,
  type Timer,
  type Traversal,
  type TraversalOptions,
} from '../src/index.ts'
import { type ExternalAddress, type MapPortOptions, type MappingProtocol, mapPort, type PortMapping } from '../src/port-mapping.ts'

// Checked by `npm run check`; at run time there is nothing to do.
it('events and their values are typed, and what does not exist does not compile', () => {
  const use = (session: Session): void => {
    session.on('signal', (signal) => expectTypeOf(signal).toEqualTypeOf<Signal>())
    session.on('path', (path) => expectTypeOf(path).toEqualTypeOf<Path>())
    session.on('message', (data) => expectTypeOf(data).toEqualTypeOf<Uint8Array>())
    session.once('state', (state) => expectTypeOf(state).toEqualTypeOf<SessionState>())
    session.on('error', (error) => {
      expectTypeOf(error).toExtend<Error>()
      expectTypeOf(error.code).toEqualTypeOf<string | undefined>()
      expectTypeOf(error.report).toBeUnknown()
      if (error instanceof SallyportError) expectTypeOf(error.code).toExtend<ErrorCode>()
    })
    // @ts-expect-error there is no such event
    session.on('mesage', () => {})
    // @ts-expect-error text is not bytes
    session.send('text')
    expectTypeOf(session.ready).resolves.toEqualTypeOf<Path>()
    expectTypeOf(session.explain()).toEqualTypeOf<Explanation>()
  }
  expectTypeOf(use).toBeFunction()
  expectTypeOf<ReturnType<typeof createTraversal>>().resolves.toEqualTypeOf<Traversal>()
  expectTypeOf<Traversal>().toExtend<AsyncDisposable>()
  expectTypeOf<Session>().toExtend<AsyncDisposable>()
  expectTypeOf<Socket>().toExtend<NonNullable<TraversalOptions['socket']>>()
  expectTypeOf(nodeNetwork().clock).toEqualTypeOf<Clock>()
  expectTypeOf<Clock['wake']>().returns.toEqualTypeOf<Timer>()
  expectTypeOf<Session>().not.toHaveProperty('tell')
})

it('so are those of port mappings', () => {
  const use = (mapping: PortMapping): void => {
    mapping.on('change', (external) => expectTypeOf(external).toEqualTypeOf<ExternalAddress>())
    mapping.on('lost', (error) => expectTypeOf(error.code).toEqualTypeOf<ErrorCode>())
    // @ts-expect-error there is no such event
    mapping.on('changed', () => {})
    // @ts-expect-error it is the router's to say
    mapping.externalPort = 80
    expectTypeOf(mapping.via).toEqualTypeOf<MappingProtocol | undefined>()
    expectTypeOf(mapping.close()).resolves.toBeVoid()
  }
  expectTypeOf(use).toBeFunction()
  expectTypeOf(mapPort).returns.resolves.toEqualTypeOf<PortMapping>()
  expectTypeOf<PortMapping>().toExtend<AsyncDisposable>()
  expectTypeOf<{ internalPort: number }>().toExtend<MapPortOptions>()
  expectTypeOf<{ protocol: 'udp' }>().not.toExtend<MapPortOptions>()
  expectTypeOf<{ internalPort: number; via: ['pmp'] }>().not.toExtend<MapPortOptions>()
})
