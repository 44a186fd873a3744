/**
 * What the library tells about itself while it runs: one `diagnostics_channel` per area, `sallyport:<area>`, and the `debug` namespaces
 * of the same names as printers of the same events. Secrets never appear in either.
 */
import { channel } from 'node:diagnostics_channel'
import debug from 'debug'

export type Area = 'gather' | 'signal' | 'ice' | 'path' | 'relay' | 'drop'

/** A plain object; `event` names what happened, in kebab-case. */
export interface DiagnosticEvent {
  readonly event: string
  readonly [detail: string]: unknown
}

function area(name: Area): { readonly publish: (make: () => DiagnosticEvent) => void } {
  const events = channel(`sallyport:${name}`)
  const print = debug(`sallyport:${name}`)
  return {
    // The object is made only for somebody who listens: nobody, as a rule.
    publish(make) {
      if (!events.hasSubscribers && !print.enabled) return
      const event = make()
      if (events.hasSubscribers) events.publish(event)
      const { event: what, ...details } = event
      print('%s %o', what, details)
    },
  }
}

const AREAS: Readonly<Record<Area, ReturnType<typeof area>>> = {
  gather: area('gather'),
  signal: area('signal'),
  ice: area('ice'),
  path: area('path'),
  relay: area('relay'),
  drop: area('drop'),
}

export function diagnose(name: Area, make: () => DiagnosticEvent): void {
  AREAS[name].publish(make)
}
