/**
 * Carries signals between those in a room, each to the one it is for. Nothing else goes through it.
 *
 *     node examples/room/relay.js [PORT [ADDRESS]]
 *
 * Lines of JSON over TCP. In: {"join": name}, then {"to": name, "signal": …}, and {"leave": true}. Out: {"names": […]} whenever somebody
 * comes or goes, and {"from": name, "signal": …}. Whoever comes first has a name: this is an example. The peers are in peer.js.
 */
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'

const [port = '7700', address = '127.0.0.1'] = process.argv.slice(2)
const members = new Map() // name → socket
const tell = (socket, message) => socket.write(`${JSON.stringify(message)}\n`)
const tellNames = () => members.forEach((socket) => void tell(socket, { names: [...members.keys()] }))

const server = createServer((socket) => {
  let name
  const leave = () => {
    if (members.get(name) === socket && members.delete(name)) tellNames()
    name = undefined
  }
  socket.on('error', () => {}) // it closes, too; so do its lines
  socket.on('close', leave)
  const lines = createInterface({ input: socket })
  lines.on('error', () => {})
  lines.on('line', (line) => {
    const { join, to, signal, leave: leaves } = parse(line)
    const receiver = name === undefined ? undefined : members.get(to)
    if (to !== undefined)
      receiver && tell(receiver, { from: name, signal }) // or it is lost, and given again
    else if (leaves) leave()
    else if (join === name) return
    else if (typeof join !== 'string' || members.has(join)) tell(socket, { refused: `${join} is no name to have here, or somebody has it` })
    else {
      leave()
      members.set((name = join), socket)
      tellNames()
    }
  })
})
server.listen(Number(port), address, () => console.log(`The room is open at ${address}:${server.address().port}`))

function parse(line) {
  try {
    return JSON.parse(line) ?? {}
  } catch {
    return {}
  }
}
