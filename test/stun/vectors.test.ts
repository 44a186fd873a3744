import { describe, expect, it } from 'vitest'
import { Attribute, IntegrityKey, Message, MessageWriter } from '../../src/stun/index.ts'
import { bytesOf, hexOf, vectors } from './stun-vectors.ts'

const wrong = IntegrityKey.shortTerm('not the password')

for (const vector of vectors) {
  describe(vector.name, () => {
    const key =
      vector.longTerm === undefined
        ? IntegrityKey.shortTerm(vector.shortTerm?.password ?? '')
        : IntegrityKey.longTerm(vector.longTerm.username, vector.longTerm.realm, vector.longTerm.password)
    const data = bytesOf(vector.hex)
    const message = Message.read(data)!

    it('is read with its class, method and transaction', () => {
      expect([message.class, message.method, message.transactionKey]).toEqual([vector.class, vector.method, vector.transactionId])
      expect(hexOf(message.transactionId)).toBe(vector.transactionId)
    })

    it('has the attribute values that the RFC names', () => {
      expect(message.text(Attribute.Software)).toBe(vector.software)
      expect(message.text(Attribute.Username)).toBe(vector.username)
      expect(message.text(Attribute.Realm)).toBe(vector.realm)
      expect(message.text(Attribute.Nonce)).toBe(vector.nonce)
      expect(message.uint32(Attribute.Priority)).toBe(vector.priority)
      const tiebreaker = vector.iceControlled === undefined ? undefined : BigInt(`0x${vector.iceControlled}`)
      expect(message.uint64(Attribute.IceControlled)).toBe(tiebreaker)
      const address = message.address(Attribute.XorMappedAddress)
      expect(address && { ip: address.ip, port: address.port }).toEqual(vector.xorMappedAddress)
      const userhash = message.value(Attribute.Userhash)
      expect(userhash && hexOf(userhash)).toBe(vector.userhash)
    })

    it('verifies, and only under its own key', () => {
      expect([message.integrity(key), message.integritySha256(key), message.fingerprint()]).toEqual([
        vector.integrity,
        vector.integritySha256,
        vector.fingerprint,
      ])
      expect(message.integrity(wrong)).not.toBe('valid')
      expect(message.integritySha256(wrong)).not.toBe('valid')
    })

    it('is left as it came by verifying', () => {
      message.integrity(key)
      message.integritySha256(key)
      message.fingerprint()
      expect(hexOf(data)).toBe(vector.hex)
    })

    it('fails as soon as any bit that its integrity covers is another one', () => {
      const covered = Message.read(data)!
      const type = covered.has(Attribute.MessageIntegrity) ? Attribute.MessageIntegrity : Attribute.MessageIntegritySha256
      const tag = covered.value(type)!
      const end = tag.byteOffset - data.byteOffset + tag.length
      for (let bit = 0; bit < 8 * end; bit++) {
        const altered = data.slice()
        altered[bit >> 3]! ^= 1 << (bit & 7)
        const read = Message.read(altered)
        expect(read !== undefined && (read.integrity(key) === 'valid' || read.integritySha256(key) === 'valid')).toBe(false)
      }
    })

    it('comes out again byte for byte, up to what was in the padding', () => {
      // RFC 5769 pads with spaces, where RFC 8489 14 asks a sender for zeros; the tags cover the padding.
      const writer = new MessageWriter().start(vector.class, vector.method, bytesOf(vector.transactionId))
      for (let at = 20; at < data.length; ) {
        const type = (data[at]! << 8) | data[at + 1]!
        const length = (data[at + 2]! << 8) | data[at + 3]!
        if (type === Attribute.MessageIntegrity) writer.integrity(key)
        else if (type === Attribute.MessageIntegritySha256) writer.integritySha256(key)
        else if (type === Attribute.Fingerprint) writer.fingerprint()
        else writer.bytes(type, data.subarray(at + 4, at + 4 + length))
        at += 4 + ((length + 3) & ~3)
      }
      const written = writer.finish()
      expect(written.length).toBe(data.length)
      if (!vector.hex.includes('202020') && !vector.hex.includes('6f7220')) expect(hexOf(written)).toBe(vector.hex)
      const again = Message.read(written)!
      expect([again.integrity(key), again.integritySha256(key), again.fingerprint()]).toEqual([
        vector.integrity,
        vector.integritySha256,
        vector.fingerprint,
      ])
    })
  })
}
