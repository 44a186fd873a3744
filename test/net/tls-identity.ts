/** A certificate that nobody but a test trusts, made by openssl: a test that calls this `requires` it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TlsIdentity } from '../../src/net/index.ts'

/** For that name, 127.0.0.1 and other addresses, valid for two days. */
export function makeIdentity(name: string, ...ips: readonly string[]): TlsIdentity {
  const folder = mkdtempSync(join(tmpdir(), 'tls-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    const names = [`DNS:${name}`, ...['127.0.0.1', ...ips].map((ip) => `IP:${ip}`)]
    const who = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${names.join(',')}`]
    const { status, stderr } = spawnSync('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...who])
    if (status !== 0) throw new Error(`openssl made no certificate: ${String(stderr)}`)
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
