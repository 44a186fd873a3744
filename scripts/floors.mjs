// Keeps the floors of ARCHITECTURE.md: imports point downward only, rooms meet at their index.ts, and the operating system, time and
// chance are touched where they belong. `npm run floors`; the rules are the tables below.
import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, posix, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** Top to bottom: rooms and the files beside them. What stands on one line is one floor, and does not import from itself. */
const FLOORS = [
  ['index.ts', 'port-mapping.ts'],
  ['cli'],
  ['traversal.ts'],
  ['offer.ts'],
  ['options.ts', 'bases.ts', 'traversal-status.ts'],
  ['session.ts'],
  ['peer-names.ts', 'generations.ts', 'attempts.ts', 'outflow.ts'],
  ['liveness.ts'],
  ['generation.ts'],
  ['claim.ts', 'session-events.ts'],
  ['demultiplexer.ts'],
  ['signal'],
  ['path'],
  ['ice'],
  ['punch'],
  ['candidates'],
  ['pmp'],
  ['nat'],
  ['relay'],
  ['stun'],
  ['keys'],
  ['lab'],
  ['net'],
  ['diagnostics.ts', 'errors.ts', 'readiness.ts', 'outbox.ts', 'safe-emitter.ts'],
]
const floorOf = new Map(FLOORS.flatMap((names, floor) => names.map((name) => [name, floor])))

/** What the virtual internet may stand on. */
const LAB_NEEDS = ['net', 'errors.ts']
/** Who may put the virtual internet under something. */
const LAB_USERS = ['cli/demo']
/** Who chooses the operating system as the network. */
const SYSTEM_USERS = ['index.ts', 'port-mapping.ts', 'traversal.ts', 'cli']

/** Where the operating system is at home. */
const SYSTEM = ['net/node', 'cli']
const NODE_MODULES_ALLOWED = new Map(
  ['traversal.ts', 'session.ts', 'safe-emitter.ts', 'diagnostics.ts'].map((file) => [file, ['node:events', 'node:diagnostics_channel']]),
)
const GLOBALS = ['Date', 'performance', 'setTimeout', 'setInterval', 'setImmediate', 'crypto']
const GLOBALS_ALLOWED = new Map([['lab', ['setImmediate']]])
/** Of `Math`, and of what holds the globals. */
const MEMBERS = new Map([
  ['Math', ['random']],
  ['globalThis', GLOBALS],
  ['global', GLOBALS],
])

/** Every breach under `root` (a `src` folder), as `file:line message`. Empty when the floors hold. */
export function checkFloors(root) {
  const files = readdirSync(root, { recursive: true })
    .map((name) => String(name).split(sep).join('/'))
    .filter((name) => /\.ts$/.test(name))
    .sort()
  return files.flatMap((file) => checkFile(root, file))
}

function checkFile(root, file) {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true)
  const breaches = []
  const report = (node, message) => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source))
    breaches.push(`${file}:${line + 1} ${message}`)
  }
  if (!floorOf.has(roomOf(file))) report(source, `${roomOf(file)} has no floor; give it one in scripts/floors.mjs`)
  const atHome = within(file, SYSTEM)
  const declared = declaredNames(source)
  const visit = (node) => {
    const imported = importOf(node)
    if (imported !== undefined) {
      const message = imported.specifier.startsWith('.')
        ? checkImport(file, posix.join(posix.dirname(file), imported.specifier))
        : !atHome && !imported.typeOnly && checkModule(file, imported.specifier)
      if (message) report(node, message)
    }
    if (!atHome) {
      const name = globalOf(node, declared)
      if (name !== undefined && !GLOBALS_ALLOWED.get(roomOf(file))?.includes(name)) {
        report(node, `${name} is used outside ${SYSTEM.join(', ')}; it comes in through net's Clock and Random`)
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return breaches
}

/** The room, or the file beside the rooms. */
function roomOf(file) {
  return file.split('/')[0]
}

function within(file, places) {
  return places.some((place) => file === place || file.startsWith(`${place}/`) || file === `${place}.ts`)
}

/** `target` is relative to the root, as `file` is. */
function checkImport(file, target) {
  const from = roomOf(file)
  const to = roomOf(target)
  if (target.startsWith('..')) return `imports ${target}, which is outside src`
  // net/node is a room of its own inside net: it builds on net's files, nothing in net builds on it.
  const system = within(target, ['net/node'])
  if (within(file, ['net/node'])) {
    if (system || to === 'net' || floorOf.get(to) === FLOORS.length - 1) return undefined
    return `imports ${target}, which is upstairs`
  }
  if (system) {
    if (!within(file, SYSTEM_USERS)) return `imports ${target}; only ${SYSTEM_USERS.join(', ')} choose the operating system`
    return target === 'net/node/index.ts' ? undefined : `imports ${target} past net/node/index.ts`
  }
  if (from === to) return undefined
  if (!floorOf.has(to)) return `imports ${target}, which has no floor; give it one in scripts/floors.mjs`
  if (to === 'cli') return `imports ${target}; nothing imports cli`
  if (from === 'lab' && !LAB_NEEDS.includes(to)) return `imports ${target}; lab stands on ${LAB_NEEDS.join(' and ')} alone`
  if (to === 'lab' && !within(file, LAB_USERS)) return `imports ${target}; only ${LAB_USERS.join(', ')} may import lab`
  if (floorOf.get(to) <= floorOf.get(from)) return `imports ${target}, which is upstairs`
  if (target.includes('/') && target !== `${to}/index.ts`) return `imports ${target} past ${to}/index.ts`
  return undefined
}

function checkModule(file, specifier) {
  if (!specifier.startsWith('node:') && !builtinModules.includes(specifier)) return undefined
  const allowed = NODE_MODULES_ALLOWED.get(file) ?? []
  if (allowed.includes(specifier)) return undefined
  return `imports ${specifier} outside ${SYSTEM.join(', ')}; it comes in through net's interfaces`
}

function importOf(node) {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    if (node.moduleSpecifier === undefined) return undefined
    const clause = ts.isImportDeclaration(node) ? node.importClause : node.exportClause
    const named = ts.isImportDeclaration(node) ? clause?.namedBindings : clause
    const each = named !== undefined && (ts.isNamedImports(named) || ts.isNamedExports(named)) ? named.elements : []
    const whole = ts.isImportDeclaration(node) ? clause?.phaseModifier === ts.SyntaxKind.TypeKeyword : node.isTypeOnly
    const allTypes = each.length > 0 && each.every((element) => element.isTypeOnly) && clause?.name === undefined
    return { specifier: node.moduleSpecifier.text, typeOnly: whole || allTypes }
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [argument] = node.arguments
    return { specifier: argument !== undefined && ts.isStringLiteralLike(argument) ? argument.text : '', typeOnly: false }
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return { specifier: node.argument.literal.text, typeOnly: true }
  return undefined
}

/** Names the file binds itself: a parameter called `performance` is not the global. */
function declaredNames(source) {
  const names = new Set()
  const visit = (node) => {
    const binds =
      ts.isVariableDeclaration(node) ||
      ts.isParameter(node) ||
      ts.isBindingElement(node) ||
      ts.isFunctionDeclaration(node) ||
      ts.isClassDeclaration(node) ||
      ts.isImportSpecifier(node) ||
      ts.isImportClause(node) ||
      ts.isNamespaceImport(node)
    if (binds && node.name !== undefined && ts.isIdentifier(node.name)) names.add(node.name.text)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return names
}

function globalOf(node, declared) {
  if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) && !declared.has(node.expression.text)) {
    const members = MEMBERS.get(node.expression.text)
    return members?.includes(node.name.text) ? `${node.expression.text}.${node.name.text}` : undefined
  }
  if (!ts.isIdentifier(node) || !GLOBALS.includes(node.text) || declared.has(node.text)) return undefined
  const { parent } = node
  // A value, not a member's name and not a type.
  const isName = 'name' in parent && parent.name === node && !ts.isShorthandPropertyAssignment(parent)
  const isType = ts.isTypeReferenceNode(parent) || ts.isTypeQueryNode(parent) || ts.isQualifiedName(parent)
  return isName || isType ? undefined : node.text
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..', 'src'))
  const breaches = checkFloors(root)
  for (const breach of breaches) console.error(`${relative(process.cwd(), root)}/${breach}`)
  if (breaches.length > 0) console.error(`${breaches.length} breach${breaches.length === 1 ? '' : 'es'} of the floors`)
  process.exitCode = breaches.length > 0 ? 1 : 0
}
