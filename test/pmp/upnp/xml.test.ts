import { beforeAll, expect, it } from 'vitest'
import { childText, escapeXml, findElement, loadXml, type XmlElement, type XmlReader } from '../../../src/pmp/upnp/xml.ts'
import { bytes } from './fake-igd.ts'

let read: XmlReader

beforeAll(async () => {
  read = await loadXml()
})

function parse(text: string): XmlElement {
  return read(bytes(text))
}

function refusal(text: string): string {
  try {
    parse(text)
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`
  }
  return 'read'
}

it('prefixes are dropped, texts trimmed, elements found at any depth', () => {
  const root = parse('<?xml version="1.0"?>\r\n<s:a xmlns:s="x"><b> one </b><u:c><d><![CDATA[<&>]]></d></u:c></s:a>')
  expect(root.name).toBe('a')
  expect(childText(root, 'b')).toBe('one')
  expect(findElement(root, 'd')?.text).toBe('<&>')
  expect(childText(root, 'd')).toBe('')
})

it('XML’s five entities and characters by number are read, an ampersand of a model name stays one', () => {
  expect(parse('<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x42; AT&T &</a>').text).toBe('<>&"\'AB AT&T &')
})

it.each(['&nbsp;', '&x;', '&toString;', '&__proto__;', '&#0x;', '&#99999999;'])('%s is no entity', (entity) => {
  expect(refusal(`<a>${entity}</a>`)).toMatch(/^ERR_MAPPING_ANSWER /)
})

it('what stands before and after by mistake is passed over', () => {
  expect(parse('\r\n <a/>\0\0\n').name).toBe('a')
  expect(parse('\ufeff<a/>').name).toBe('a')
})

it.each([
  ['a bomb of entities', `<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>`],
  ['a document type that leads elsewhere', '<!DOCTYPE a SYSTEM "http://192.0.2.1/x.dtd"><a/>'],
  ['a document type that never ends', `<!DOCTYPE a [${'<!ENTITY b "b">'.repeat(10_000)}`],
  ['a broken document type', '<!DOCTYPE a [<!ENTIT><a/>'],
  ['a declaration', '<!ELEMENT a ANY><a/>'],
  ['an element that is not closed', '<a><b></a>'],
  ['a long run of spaces', `<a>${' '.repeat(250_000)}x`],
  ['two roots', '<a/><b/>'],
  ['no root', '   '],
  ['text alone', 'hello'],
  ['deep nesting', `${'<a>'.repeat(40_000)}${'</a>'.repeat(40_000)}`],
  ['many elements', `<a>${'<b/>'.repeat(50_000)}</a>`],
  ['a long text', `<a>${'x'.repeat(200_000)}</a>`],
  ['a long text in pieces', `<a>${'<![CDATA[xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]]>'.repeat(200)}</a>`],
  ['a long name', `<${'a'.repeat(200_000)}/>`],
  ['many attributes', `<a ${Array.from({ length: 20_000 }, (_, i) => `a${i}="1"`).join(' ')}/>`],
  ['an attribute that is not what it seems', '<a hasOwnProperty="1" b="2"/>'],
])('%s is refused', (_what, text) => {
  expect(refusal(text)).toMatch(/^ERR_MAPPING_ANSWER [^\n]{1,200}$/)
})

it('names of JavaScript’s own are names like others', () => {
  const root = parse('<a __proto__="x" constructor="y"><__proto__><polluted>1</polluted></__proto__><constructor>2</constructor></a>')
  expect(root.children.map(({ name }) => name)).toEqual(['__proto__', 'constructor'])
  expect(childText(root, 'constructor')).toBe('2')
  expect(childText(root, 'toString')).toBe('')
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
})

it('what is no UTF-8 is read with marks in its place', () => {
  expect(read(Uint8Array.of(0x3c, 0x61, 0x3e, 0xff, 0x3c, 0x2f, 0x61, 0x3e)).text).toBe('\ufffd')
})

it('what is sent is escaped', () => {
  expect(parse(`<a>${escapeXml('<b>&amp;</b>')}</a>`).text).toBe('<b>&amp;</b>')
})
