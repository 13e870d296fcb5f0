// SPDX-License-Identifier: Apache-2.0
// An OpenID provider for tests (lib/oidc.py): the npm package oidc-provider with its adapter in memory, on a free port
// of loopback, or on that of its argument. Prints the port once it listens, and ends when its standard input does.
//
// Whoever posts {user, ttl, claims} to an interaction is logged in as that user: there are no passwords here.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import Provider from 'oidc-provider';

const LIFETIME_S = 600;
const CLAIMS = ['tenant_id', 'clearance_level', 'permissions'];

const accounts = new Map(); // user: {ttl, claims} as posted last

const signingKey = () => ({
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
  alg: 'ES256',
  use: 'sig',
});

const ttlOf = (accountId) => accounts.get(accountId)?.ttl ?? LIFETIME_S;

// Consent is as good as given: grants all that the client asks for.
async function grantAll(ctx) {
  const { client, params, provider, session } = ctx.oidc;
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid');
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, params.scope);
  await grant.save();
  return grant;
}

const configuration = {
  clients: [
    {
      client_id: 'tests',
      redirect_uris: ['https://client.example/callback'], // read from Location, never asked
      response_types: ['code'],
      grant_types: ['authorization_code'],
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: 'ES256',
    },
  ],
  jwks: { keys: [signingKey()] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  claims: { openid: ['sub', ...CLAIMS] },
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...accounts.get(sub)?.claims }) }),
  extraTokenClaims: (ctx, token) => accounts.get(token.accountId)?.claims,
  loadExistingGrant: grantAll,
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  ttl: {
    AccessToken: (ctx, token) => ttlOf(token.accountId),
    IdToken: (ctx) => ttlOf(ctx.oidc.account?.accountId),
    Grant: 3600,
    Interaction: 3600,
    Session: 3600,
  },
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: ctx.oidc.entities.AuthorizationCode?.scope ?? ctx.oidc.params.scope,
        audience: resource,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
};

async function logIn(provider, request, response) {
  await provider.interactionDetails(request, response); // fails without the cookie of its browser
  const chunks = await request.toArray();
  const { user, ttl, claims } = JSON.parse(Buffer.concat(chunks));
  accounts.set(user, { ttl, claims });
  await provider.interactionFinished(request, response, { login: { accountId: user } });
}

function fail(response, error) {
  console.error(error);
  if (!response.headersSent) response.writeHead(400);
  response.end();
}

const server = createServer();
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1');
await once(server, 'listening');
const { port } = server.address();
const provider = new Provider(`http://127.0.0.1:${port}`, configuration);
provider.on('server_error', (ctx, error) => console.error(error));
const answer = provider.callback();
server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) answer(request, response);
  else logIn(provider, request, response).catch((error) => fail(response, error));
});
console.log(port);

process.stdin.resume().on('end', () => process.exit(0));
