// Reads an AsyncAPI document from standard input with AsyncAPI's own parser, and prints what it finds in it
// as JSON: findings (the parser's, save for hints) and, where it can be read at all, what it describes.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

// The packages lie in the folder that the first argument names.
const { Parser } = createRequire(`${process.argv[2]}/`)('@asyncapi/parser')
const severities = ['error', 'warning', 'information']

const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'))
const findings = diagnostics
  .filter((d) => d.severity < severities.length)
  .map((d) => ({ severity: severities[d.severity], path: d.path.join('/'), message: d.message }))

function channel (c) {
  return { address: c.address(), topic: c.bindings().get('kafka').value().topic, messages: c.messages().all().map((m) => m.id()) }
}

function message (m) {
  return {
    contentType: m.contentType(),
    payload: Object.keys(m.payload()?.properties() ?? {}),
    headers: Object.keys(m.headers()?.properties() ?? {}),
    key: m.bindings().get('kafka').value().key.description,
    examples: m.examples().length
  }
}

function byID (all, describe) {
  return Object.fromEntries(all.map((one) => [one.id(), describe(one)]))
}

console.log(JSON.stringify({
  findings,
  servers: document && byID(document.allServers().all(), (s) => `${s.protocol()}://${s.host()}`),
  channels: document && byID(document.channels().all(), channel),
  operations: document && byID(document.operations().all(), (o) => `${o.action()} ${o.channels().all().map((c) => c.id()).join()}`),
  messages: document && byID(document.messages().all(), message)
}))
