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
