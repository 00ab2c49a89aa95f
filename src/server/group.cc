#include "server/group.h"

#include <algorithm>
#include <charconv>

#include "identity/state_folder.h"
#include "node/trust.h"
#include "server/open_store.h"

namespace postern {
namespace {

constexpr const char* kRootKey = "group-root.key";
constexpr const char* kDelegateKey = "delegate.key";
constexpr const char* kDelegateNumber = "delegate.number";

wire::pb::Signed make_delegation(const PrivateKey& root, const PrivateKey& delegate,
                                 const NodeId& server, const std::string& name, WallTime now) {
  wire::pb::Delegation delegation;
  delegation.set_number(kFirstDelegation);
  delegation.set_public_key(to_string(delegate.public_key().spki()));
  for (const auto scope :
       {node::Scope::documents, node::Scope::settled, node::Scope::ticks, node::Scope::authority})
    delegation.add_scopes(static_cast<std::uint32_t>(scope));
  delegation.set_not_after_ms(to_ms(now + kDelegationLifetime));
  delegation.set_node_id(as_text(server.bytes).data(), server.bytes.size());
  delegation.set_name(name);
  wire::pb::DocumentBody body;
  body.set_version(1);
  body.set_type(static_cast<std::uint32_t>(node::DocumentType::delegation));
  const NodeId group = root.node_id();
  body.set_group_id(as_text(group.bytes).data(), group.bytes.size());
  body.set_generation(1);
  body.set_number(kFirstDelegation);
  body.set_issued_ms(to_ms(now));
  body.set_payload(delegation.SerializeAsString());
  return node::sign_document(body, root, 0);
}

}  // namespace

Result<bool> GroupFolder::exists() { return disk_.exists(state_ / kDelegateKey); }

Result<GroupFolder::Delegate> GroupFolder::delegate() {
  auto key = load_private_key(disk_, state_ / kDelegateKey);
  if (!key)
    return fail(
        key.error(),
        "this management server has no delegated key; make the group with postern-server init");
  auto text = disk_.read_file(state_ / kDelegateNumber, 32);
  if (!text) return std::unexpected(text.error());
  std::uint64_t number = 0;
  const std::string_view digits = as_text(*text);
  if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec != std::errc{} ||
      number == 0)
    return fail(Errc::invalid, "{} holds no number", (state_ / kDelegateNumber).string());
  return Delegate{std::move(*key), number};
}

Result<> GroupFolder::create(const PrivateKey& root, const PrivateKey& delegate,
                             const CertificateAuthority& authority,
                             const CertificateAuthority& issuing) {
  if (auto done = write(kRootKey, root.to_pem(), 0600); !done) return done;
  if (auto done = write("ca.key", authority.key_pem(), 0600); !done) return done;
  if (auto done = write("ca.pem", authority.certificate().pem(), 0644); !done) return done;
  if (auto done = install_issuing(issuing); !done) return done;
  if (auto done = write(kDelegateNumber, std::to_string(kFirstDelegation), 0644); !done)
    return done;
  return write(kDelegateKey, delegate.to_pem(), 0600);  // last: exists() asks for it
}

Result<std::string> init_group(const InitRequest& request, Disk& disk, const Clock& clock,
                               Random& random) {
  auto name = normal_fqdn(request.name);
  if (!name) return std::unexpected(name.error());
  if (request.group.empty() || request.group.size() > 64 ||
      request.group.find_first_of("\n\r\"\\:#") != std::string::npos)
    return fail(Errc::invalid,
                "'{}' is no name for a management group: 1 to 64 characters, no colon, quote or #",
                request.group);
  auto listen = parse_endpoint(request.listen);
  if (!listen) return std::unexpected(listen.error());

  const std::string yaml = fmt::format(
      "# Postern management server; see postern-server check-config --config FILE\n"
      "group: {}\nname: {}\nstate_dir: {}\nlisten: \"{}\"\n{}"
      "# agents: pending          # pending | auto-approve | reject\n",
      request.group, *name, request.state_dir.string(), request.listen,
      (request.store.empty() ? "" : fmt::format("store: \"{}\"\n", request.store)) +
          (request.store_password_file.empty()
               ? ""
               : fmt::format("store_password_file: {}\n", request.store_password_file.string())));
  auto settings = parse_server_settings(yaml, request.config.string());
  if (!settings) return std::unexpected(settings.error());

  GroupFolder group(disk, request.state_dir);
  if (auto there = group.exists(); !there || *there)
    return there ? fail(Errc::denied, "{} holds a management group already; nothing was changed",
                        request.state_dir.string())
                 : std::unexpected(there.error());
  if (auto there = disk.exists(request.config); !there || *there)
    return there ? fail(Errc::denied, "{} exists already; nothing was changed",
                        request.config.string())
                 : std::unexpected(there.error());

  StateFolder folder(disk, request.state_dir);
  if (auto ready = folder.prepare(); !ready) return std::unexpected(ready.error());
  // First what may well fail: after that nothing is begun that could not be begun again.
  auto store = open_store(*settings, disk, request.warn);
  if (!store) return std::unexpected(store.error());
  auto members = (*store)->nodes();
  if (!members) return std::unexpected(members.error());
  if (std::ranges::any_of(*members, [&](const store::Node& node) { return node.name != *name; }))
    return fail(Errc::denied,
                "the store holds a management group already, with {} nodes; name an empty one",
                members->size());
  auto identity = folder.load_or_create_identity();
  if (!identity) return std::unexpected(identity.error());
  const WallTime now = clock.wall();
  const PrivateKey root = PrivateKey::generate();
  const PrivateKey delegate = PrivateKey::generate();
  auto authority = CertificateAuthority::create(request.group, now, random);
  if (!authority) return std::unexpected(authority.error());
  const TlsKey tls_key = TlsKey::generate(TlsKey::Kind::ec);
  auto csr = make_request(tls_key, *name);
  if (!csr) return std::unexpected(csr.error());
  auto issuing = authority->make_issuing(now, random);
  if (!issuing) return std::unexpected(issuing.error());
  auto certificate = issuing->sign(as_bytes(*csr), {.name = *name, .now = now}, random);
  if (!certificate) return std::unexpected(certificate.error());
  auto anchors = Anchors::from_certificates({authority->certificate()});
  if (!anchors) return std::unexpected(anchors.error());
  if (auto done = folder.install_anchors(*anchors); !done) return std::unexpected(done.error());
  if (auto done = folder.pin_group_root(root.public_key()); !done)
    return std::unexpected(done.error());
  if (auto done = folder.install_tls({tls_key, {*certificate, issuing->certificate()}}); !done)
    return std::unexpected(done.error());

  store::StoredDocument document;
  document.type = static_cast<std::uint32_t>(node::DocumentType::delegation);
  document.generation = 1;
  document.number = kFirstDelegation;
  document.document = to_bytes(std::string_view(
      make_delegation(root, delegate, identity->node_id(), *name, now).SerializeAsString()));
  if (auto done = (*store)->save_document(document); !done) return std::unexpected(done.error());
  store::Node self;
  self.name = *name;
  self.id = identity->node_id();
  self.identity_key = to_bytes(identity->public_key().spki());
  self.role = store::Role::server;
  self.standing = store::Standing::approved;
  self.decided_by = "postern-server init";
  self.decided = now;
  const store::AuditEntry audit{now, "postern-server init", "group created", request.group, *name};
  if (auto saved = (*store)->save_node(self, audit); !saved) return std::unexpected(saved.error());
  if (auto done = group.create(root, delegate, *authority, *issuing); !done)
    return std::unexpected(done.error());

  if (auto made = disk.make_directories(request.config.parent_path()); !made)
    return std::unexpected(made.error());
  if (auto written = disk.write_file(request.config, as_bytes(yaml), 0644); !written)
    return std::unexpected(written.error());
  return to_hex(root.public_key().fingerprint());
}

}  // namespace postern
