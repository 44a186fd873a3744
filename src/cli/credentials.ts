/** `sallyport credentials`: a user name and password that expire, as a credentials service makes them. */
import { restCredentials } from '../relay/index.ts'
import { parseServerUri } from '../stun/index.ts'
import { colours } from './format.ts'
import { readSecrets } from './secrets.ts'
import { countOption, readOptions, UsageError } from './usage.ts'

/** Seconds: ten years. What lasts that long is a mistake, or should be a user. */
const LONGEST_TTL = 315_360_000

export async function credentials(args: readonly string[]): Promise<number> {
  const values = readOptions('credentials', args, {
    secret: { type: 'string', multiple: true, default: [] },
    'secret-file': { type: 'string', multiple: true, default: [] },
    user: { type: 'string', default: '' },
    ttl: { type: 'string', default: '3600' },
    uri: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
  })
  const ttl = countOption('ttl', values.ttl, 1, LONGEST_TTL)
  const { uri: uris, user } = values
  if (uris.length > 0 && !values.json) throw new UsageError('credentials: --uri goes with --json only')
  for (const uri of uris) assertRelay(uri)
  const [secret] = readSecrets(values.secret, values['secret-file'])
  if (secret === undefined) {
    throw new UsageError('credentials: no secret: give it by --secret-file, or the environment variable SALLYPORT_SECRET')
  }
  const { username, password, expires } = restCredentials({ secret, user, ttl: ttl * 1_000, now: Date.now() })
  if (values.json) {
    console.log(JSON.stringify({ username, password, ttl, ...(uris.length === 0 ? {} : { uris }) }))
    return 0
  }
  const { dim } = colours(process.stdout)
  console.log(`${dim('username')}  ${username}`)
  console.log(`${dim('password')}  ${password}`)
  console.log(`${dim('until   ')}  ${new Date(expires).toISOString()}`)
  return 0
}

function assertRelay(uri: string): void {
  const { scheme } = parsed(uri)
  if (scheme !== 'turn' && scheme !== 'turns') throw new UsageError(`credentials: --uri must be a turn: or turns: URI, not ${uri}`)
}

function parsed(uri: string): ReturnType<typeof parseServerUri> {
  try {
    return parseServerUri(uri)
  } catch (error) {
    throw new UsageError(`credentials: --uri: ${(error as Error).message}`)
  }
}
