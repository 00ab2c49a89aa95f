// node --require ./resolve.cjs: POSTERN_RESOLVE="NAME ADDRESS" in place of a name server.
const dns = require("node:dns");
const tls = require("node:tls");

const [name, address] = process.env.POSTERN_RESOLVE.split(" ");
const lookup = dns.lookup;
dns.lookup = (asked, options, done) => {
  if (asked !== name) return lookup(asked, options, done);
  return options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4);
};

// The one port takes for HTTP what says so by ALPN; the fetch of Debian 12's Node does not.
const connect = tls.connect;
tls.connect = (options, ...more) => connect({ ALPNProtocols: ["http/1.1"], ...options }, ...more);
