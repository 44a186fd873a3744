// @ts-check
/** `node --import ./fuzz/engine/register.js`: the library is loaded with counters in it. */
import { register } from 'node:module'

register('./instrument.js', import.meta.url)
