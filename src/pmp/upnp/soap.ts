/** SOAP as UPnP uses it (UPnP Device Architecture 2.0, section 3): one action, arguments in order, values or a fault with a number. */
import { SallyportError } from '../../errors.ts'
import type { Service } from './description.ts'
import type { HttpClient } from './http.ts'
import { formatHttpUrl } from './http-url.ts'
import { escapeXml, findElement, loadXml, type XmlElement } from './xml.ts'

const LONGEST_ANSWER = 64 << 10
const ENVELOPE = 'http://schemas.xmlsoap.org/soap/envelope/'
const ENCODING = 'http://schemas.xmlsoap.org/soap/encoding/'

/** A service's no, by number (UPnP Device Architecture 2.0 3.2.5 and each service's own). Stays within this room. */
export class UpnpFault extends Error {
  override readonly name = 'UpnpFault'
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export type SoapArguments = readonly (readonly [name: string, value: string | number])[]
export type SoapValues = ReadonlyMap<string, string>

/** Asks a service for an action. Rejects with `UpnpFault` or SallyportError `ERR_MAPPING_UNAVAILABLE`, `ERR_MAPPING_ANSWER`, `ERR_CLOSED`. */
export async function invoke(http: HttpClient, service: Service, action: string, given: SoapArguments = []): Promise<SoapValues> {
  const { type, control } = service
  const inner = given.map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`).join('')
  const call = `<u:${action} xmlns:u="${type}">${inner}</u:${action}>`
  const body = `<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="${ENVELOPE}" s:encodingStyle="${ENCODING}"><s:Body>${call}</s:Body></s:Envelope>\r\n`
  const headers = [
    ['Content-Type', 'text/xml; charset="utf-8"'],
    ['SOAPAction', `"${type}#${action}"`],
  ] as const
  const { status, body: answer } = await http.request({ method: 'POST', url: control, headers, body, limit: LONGEST_ANSWER })
  const where = `${action} at ${formatHttpUrl(control)}`
  const read = await loadXml()
  try {
    return readAnswer(read(answer), action, where)
  } catch (error) {
    if (status === 200 || error instanceof UpnpFault) throw error
    throw new SallyportError('ERR_MAPPING_ANSWER', `${where}: HTTP status ${status}`, { cause: error })
  }
}

/** @throws UpnpFault, SallyportError `ERR_MAPPING_ANSWER` */
export function readAnswer(root: XmlElement, action: string, where: string): SoapValues {
  const body = findElement(root, 'Body')
  const answer = body?.children.find(({ name }) => name === `${action}Response`)
  if (answer !== undefined) return new Map(answer.children.map(({ name, text }) => [name, text]))
  const error = body === undefined ? undefined : findElement(body, 'UPnPError')
  const code = error?.children.find(({ name }) => name === 'errorCode')?.text ?? ''
  if (/^[0-9]{1,9}$/.test(code)) throw new UpnpFault(Number(code), `${where}: UPnP error ${code}`)
  throw new SallyportError('ERR_MAPPING_ANSWER', `${where}: the answer is not to it`)
}
