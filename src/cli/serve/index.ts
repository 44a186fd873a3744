/** `sallyport serve`: a STUN server until it is interrupted. */
import { nodeNetwork } from '../../net/node/index.ts'
import { createStunServer } from '../../stun/index.ts'
import { colours, plural } from '../format.ts'
import { portOption, readOptions, UsageError } from '../usage.ts'

export async function serve(args: readonly string[]): Promise<number> {
  const values = readOptions('serve', args, {
    port: { type: 'string', default: '3478' },
    address: { type: 'string', multiple: true },
    'alternate-port': { type: 'string' },
    json: { type: 'boolean', default: false },
  })
  const alternate = values['alternate-port']
  const options = {
    network: nodeNetwork(),
    port: portOption('port', values.port),
    ...(values.address === undefined ? {} : { addresses: values.address }),
    ...(alternate === undefined ? {} : { alternatePort: portOption('alternate-port', alternate) }),
  }
  const stopped = interrupted()
  const server = await createStunServer(options).catch((error: Error) => {
    throw error instanceof RangeError || codeOf(error) === 'ERR_ADDRESS' ? new UsageError(`serve: ${error.message}`) : error
  })
  const { bold, dim } = colours(process.stdout)
  const listening = server.addresses.map(({ key }) => key)
  if (values.json) console.log(JSON.stringify({ listening }))
  else {
    for (const address of listening) console.log(`STUN server on ${bold(address)} ${dim('udp')}`)
    console.log(dim('Ctrl-C stops it.'))
  }
  await stopped
  await server.close()
  if (!values.json) console.log(`Stopped after ${plural(server.counters.successes, 'answer')}.`)
  return 0
}

function codeOf(error: Error): unknown {
  return (error as { code?: unknown }).code
}

/** By SIGINT or SIGTERM. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
      resolve()
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  })
}
