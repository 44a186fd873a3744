/**
 * The credentials service of a fleet: who shows a token that it knows is given the relays, and a user name and a password for them that expire.
 *
 *     node examples/fleet/credentials.js --secrets secrets --tokens tokens --servers examples/fleet/servers.txt
 *     curl --header 'Authorization: Bearer TOKEN' http://127.0.0.1:8080/
 *
 * A secret a line, of which the first makes passwords; a line for each user, `SHA-256-OF-THE-TOKEN-IN-HEX NAME`; a URI a line. The files are read
 * for each answer, so that a change needs no restart. Nothing else is kept: run as many as you like. TLS is for the proxy in front.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { restCredentials } from 'sallyport/relay'

const text = { type: 'string' }
const options = { secrets: text, tokens: text, servers: text, ttl: { ...text, default: '3600' }, port: { ...text, default: '8080' } }
const { secrets, tokens, servers, ttl, port } = parseArgs({ options }).values

const server = createServer((request, response) => {
  const [status, body] = answerTo(request.headers.authorization)
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(body))
})
server.listen(Number(port), '127.0.0.1', () => console.log(`Credentials at http://127.0.0.1:${server.address().port}/`))

function answerTo(authorization = '') {
  try {
    // Whoever gets an answer can send through the relays, so this is where your own log-in belongs.
    const hash = createHash('sha256')
    hash.update(authorization.replace(/^Bearer /, ''))
    const token = hash.digest('hex')
    const [, user] =
      linesOf(tokens)
        .map((line) => line.split(/\s+/))
        .find(([known]) => known === token) ?? []
    if (user === undefined) return [401, { error: 'no token that is known' }]
    const { username, password } = restCredentials({ secret: linesOf(secrets)[0], user, ttl: ttl * 1_000, now: Date.now() })
    return [200, { username, password, ttl: Number(ttl), uris: linesOf(servers) }]
  } catch (error) {
    console.error(error.message)
    return [500, { error: 'there is something wrong here' }]
  }
}

function linesOf(file) {
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))
}
