/**
 * XML as routers write it, read into a small tree by `sax` (the one file that knows that package, which is loaded when first used). What
 * comes in is a stranger's: no document type, so no entities but XML's own five and characters by number; few elements, not deep, short
 * texts. Names lose their namespace prefix: routers use any.
 */
import { SallyportError } from '../../errors.ts'

export interface XmlElement {
  /** Without a prefix. */
  readonly name: string
  /** What stands directly in it, trimmed. */
  readonly text: string
  readonly children: readonly XmlElement[]
}

export type XmlReader = (bytes: Uint8Array) => XmlElement

/** Elements in elements; descriptions have ten. */
const DEEPEST = 32
/** A description of eight services has two hundred. */
const MOST_ELEMENTS = 4096
const MOST_ATTRIBUTES = 4096
const LONGEST_NAME = 128
/** Characters directly in one element. */
const LONGEST_TEXT = 4096

/** An ampersand that begins no reference: model names have them, and every other client reads them. */
const BARE_AMPERSAND = /&(?![#\w:.-]+;)/g

/** All that may begin so is comments and CDATA. Looked for here: sax tells of a document type when it is over, and loses some that are broken. */
const DECLARATION = /<!(?!--|\[CDATA\[)/

/** Without the first, HTML's entities would be read. Its types know the second alone. */
const OPTIONS = { strictEntities: true, trim: false }

interface Open {
  readonly name: string
  text: string
  readonly children: XmlElement[]
}

let loading: Promise<XmlReader> | undefined

/** Loads the parser once. Its reader throws SallyportError `ERR_MAPPING_ANSWER`. */
export function loadXml(): Promise<XmlReader> {
  loading ??= load()
  return loading
}

async function load(): Promise<XmlReader> {
  const { default: sax } = await import('sax')

  return (bytes) => {
    const given = inner(new TextDecoder().decode(bytes))
    if (DECLARATION.test(given)) throw refused('it has a document type')
    // In a CDATA section an ampersand is one already.
    const text = given.includes('<![CDATA[') ? given : given.replace(BARE_AMPERSAND, '&amp;')
    const parser = sax.parser(true, OPTIONS)
    const open: Open[] = []
    let root: XmlElement | undefined
    let elements = 0
    let attributes = 0
    const append = (piece: string): void => {
      const top = open.at(-1)
      if (top === undefined) return
      if (top.text.length + piece.length > LONGEST_TEXT) throw refused('a text is too long')
      top.text += piece
    }
    parser.ontext = append
    parser.oncdata = append
    parser.onattribute = () => {
      if (++attributes > MOST_ATTRIBUTES) throw refused('too many attributes')
    }
    parser.onopentag = ({ name }) => {
      if (++elements > MOST_ELEMENTS) throw refused('too many elements')
      if (root !== undefined) throw refused('something comes after its end')
      if (name.length > LONGEST_NAME) throw refused('a name is too long')
      if (open.length >= DEEPEST) throw refused('elements too deep in one another')
      open.push({ name: name.slice(name.indexOf(':') + 1), text: '', children: [] })
    }
    parser.onclosetag = () => {
      const closed = open.pop()
      if (closed === undefined) return
      const element = { name: closed.name, text: closed.text.trim(), children: closed.children }
      const parent = open.at(-1)
      if (parent === undefined) root = element
      else parent.children.push(element)
    }
    parser.onerror = (error) => {
      // Its own words go over several lines.
      throw refused(error.message.split('\n')[0] ?? '')
    }
    try {
      parser.write(text).close()
    } catch (cause) {
      throw cause instanceof SallyportError ? cause : refused('it cannot be read', cause)
    }
    if (root === undefined) throw refused('there is nothing in it')
    return root
  }
}

/**
 * Some servers count a final NUL into the body, others begin with an empty line: neither may stand around a document (XML 1.0 2.1). By
 * hand: an expression for what ends a text takes the square of a long run's length.
 */
function inner(text: string): string {
  let end = text.length
  while (end > 0 && text.charCodeAt(end - 1) <= 0x20) end--
  return text.slice(0, end).trimStart()
}

/** The first element of a name, at any depth, itself included. */
export function findElement(element: XmlElement, name: string): XmlElement | undefined {
  if (element.name === name) return element
  for (const child of element.children) {
    const found = findElement(child, name)
    if (found !== undefined) return found
  }
  return undefined
}

/** The text of a child; '' when it has none of that name. */
export function childText(element: XmlElement, name: string): string {
  return element.children.find((child) => child.name === name)?.text ?? ''
}

export function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function refused(why: string, cause?: unknown): SallyportError {
  return new SallyportError('ERR_MAPPING_ANSWER', `the router's XML makes no sense: ${why}`, { cause })
}
