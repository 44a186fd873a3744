export { FIRST_CHANNEL, LAST_CHANNEL } from './channel-data.ts'
export { type RestCredentials, type RestCredentialsOptions, restCredentials } from './rest-credentials.ts'
