export { UpnpClient, type UpnpClientOptions } from './client.ts'
/** Loads the XML parser ahead of its first use: on the virtual internet, `lab.hold(loadXml())` keeps time from running meanwhile. */
export { loadXml } from './xml.ts'
