#pragma once

// For the tests of nodes, gateways and servers: a management group with its keys, and nodes of it.
// Header only; no product code includes it.

#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "identity/test_certificates.h"
#include "node/outbox.h"
#include "node/self.h"
#include "node/trust.h"

namespace postern::testing_support {

inline constexpr WallTime kWall{std::chrono::milliseconds(1'800'000'000'000)};

inline Recipe recipe_for(const std::string& name) {
  Recipe recipe;
  recipe.common_name = name;
  recipe.dns_names = {name};
  return recipe;
}

/// An authority outlives what it issues.
inline Recipe long_lived(Recipe recipe) {
  recipe.not_after = kWall + std::chrono::days(3652);
  return recipe;
}

/// Log lines, for tests that read them. Thread-safe.
struct LogLines {
  mutable std::mutex mutex;
  std::vector<std::pair<Level, std::string>> lines;
  Log log{Level::debug, [this](Level level, std::string_view line) {
            const std::scoped_lock lock(mutex);
            lines.emplace_back(level, std::string(line));
          }};
  std::size_t count(std::string_view part) const {
    const std::scoped_lock lock(mutex);
    std::size_t n = 0;
    for (const auto& [level, line] : lines) n += line.find(part) != std::string::npos ? 1 : 0;
    return n;
  }
};

/// One node: identity key, name, TLS key and certificate.
struct TestNode {
  node::Self self;
  Issued tls;

  const Certificate& certificate() const { return tls.certificate; }
  Digest tls_key() const { return tls.certificate.spki_sha256(); }
  const CertificateMark& mark() const { return tls.certificate.mark(); }
  TlsCredential credential() const {
    auto key = TlsKey::from_pem(private_key_pem(tls.key.get()));
    invariant(key.has_value(), "a test key can be read");
    return {std::move(*key), {tls.certificate}};
  }
  wire::pb::Hello hello(const node::Exporter& exporter) const {
    return self.hello(tls_key(), exporter, kWall);
  }
  wire::pb::Welcome welcome(const node::Exporter& exporter) const {
    wire::pb::Welcome welcome;
    welcome.set_version(node::kVersionMax);
    welcome.set_group(self.group);
    welcome.set_role(static_cast<std::uint32_t>(self.role));
    welcome.set_name(self.name);
    welcome.set_identity_key(node::field_of(self.identity.public_key().spki()));
    *welcome.mutable_statement() = self.statement(tls_key(), kWall);
    welcome.set_proof(self.proof(exporter, false));
    return welcome;
  }
  wire::StreamKey stream(wire::Lane lane, wire::Epoch epoch = {1, 7}) const {
    return {self.id, epoch, lane};
  }
};

struct TestGroup {
  PrivateKey root = PrivateKey::generate();
  PrivateKey delegate = PrivateKey::generate();
  Issued authority = make(long_lived(authority_recipe("Test root")));
  std::string name = "demo";

  TestNode node(node::Role role, const std::string& fqdn,
                PrivateKey identity = PrivateKey::generate()) const {
    const NodeId id = identity.node_id();
    return {{role, name, fqdn, std::move(identity), id, root.node_id(),
             root.public_key().fingerprint(), 11, 0},
            make(recipe_for(fqdn), &authority)};
  }
  Anchors anchors() const { return *Anchors::from_certificates({authority.certificate}); }

  wire::pb::DocumentBody body(node::DocumentType type, std::uint64_t number,
                              std::string payload) const {
    wire::pb::DocumentBody body;
    body.set_version(1);
    body.set_type(static_cast<std::uint32_t>(type));
    body.set_group_id(node::field_of(root.node_id().bytes));
    body.set_generation(1);
    body.set_number(number);
    body.set_issued_ms(to_ms(kWall));
    body.set_payload(std::move(payload));
    return body;
  }
  wire::pb::DocumentBody delegation_body(std::uint64_t number, const PublicKey& key,
                                         std::vector<node::Scope> scopes,
                                         WallTime not_after) const {
    wire::pb::Delegation delegation;
    delegation.set_number(number);
    delegation.set_public_key(node::field_of(key.spki()));
    for (const node::Scope scope : scopes) delegation.add_scopes(static_cast<std::uint32_t>(scope));
    delegation.set_not_after_ms(to_ms(not_after));
    return body(node::DocumentType::delegation, number, delegation.SerializeAsString());
  }
  /// Number 1, of `delegate`, for everything a management server signs.
  wire::pb::Signed delegation() const {
    return node::sign_document(delegation_body(1, delegate.public_key(),
                                               {node::Scope::documents, node::Scope::settled,
                                                node::Scope::ticks, node::Scope::authority},
                                               kWall + std::chrono::days(3650)),
                               root, 0);
  }
  wire::pb::DocumentBody approval_body(const TestNode& node, std::uint64_t number,
                                       std::vector<std::string> parents = {}) const {
    wire::pb::Approval approval;
    approval.set_node_id(node::field_of(node.self.id.bytes));
    approval.set_identity_key(node::field_of(node.self.identity.public_key().spki()));
    approval.set_name(node.self.name);
    approval.set_role(static_cast<std::uint32_t>(node.self.role));
    for (const std::string& parent : parents) approval.add_parents(parent);
    auto result = body(node::DocumentType::approval, number, approval.SerializeAsString());
    result.set_audience(approval.node_id());
    return result;
  }
  wire::pb::Signed approval(const TestNode& node, std::uint64_t number = 1,
                            std::vector<std::string> parents = {}) const {
    return node::sign_document(approval_body(node, number, std::move(parents)), delegate, 1);
  }
  wire::pb::Signed deny(std::uint64_t number, const std::vector<NodeId>& ids,
                        std::uint32_t reason = 1) const {
    wire::pb::DenyList list;
    for (const NodeId& id : ids) {
      auto* entry = list.add_entries();
      entry->set_node_id(node::field_of(id.bytes));
      entry->set_reason(reason);
    }
    return node::sign_document(body(node::DocumentType::deny, number, list.SerializeAsString()),
                               delegate, 1);
  }
  wire::pb::Signed deny_certificate(std::uint64_t number, const CertificateMark& certificate,
                                    std::uint32_t reason = 3) const {
    wire::pb::DenyList list;
    auto* entry = list.add_entries();
    if (certificate.tls_key != Digest{})
      entry->set_tls_key_sha256(node::field_of(certificate.tls_key));
    entry->set_serial(node::field_of(serial_bytes(certificate.serial)));
    if (certificate.issuer != Digest{})
      entry->set_issuer_sha256(node::field_of(certificate.issuer));
    entry->set_reason(reason);
    return node::sign_document(body(node::DocumentType::deny, number, list.SerializeAsString()),
                               delegate, 1);
  }
  wire::pb::Signed anchors_document(std::uint64_t number, const node::AnchorList& list) const {
    return node::sign_document(body(node::DocumentType::anchors, number, list.payload()), delegate,
                               1);
  }
  wire::Settled settled_of(wire::Coverage coverage) const {
    wire::Settled settled;
    settled.group = root.node_id();
    settled.delegation = 1;
    settled.generation = 1;
    settled.issued = kWall;
    settled.coverage = std::move(coverage);
    return settled;
  }
  static Bytes sign(const wire::Settled& settled, const PrivateKey& key) {
    const Bytes signed_part = encode_signed_part(settled);
    Writer body;
    body.bytes(signed_part).bytes(key.sign(wire::kSettledContext, signed_part));
    return body.take();
  }
  Bytes settled(wire::Coverage coverage) const {
    return sign(settled_of(std::move(coverage)), delegate);
  }
};

inline Payload payload_of(std::string_view text) {
  Payload payload;
  payload.compressed = to_bytes(text);
  payload.raw_bytes = static_cast<std::uint32_t>(text.size());
  payload.records = 1;
  payload.first = payload.last = kWall;
  return payload;
}

inline wire::Message batch_message(const node::Outbox::Sealed& sealed) {
  wire::Message message;
  message.type = wire::Type::batch;
  message.lane = static_cast<std::uint8_t>(sealed.stream.lane);
  message.body = sealed.message;
  return message;
}

template <typename Message>
Message parsed(const wire::Message& message) {
  Message result;
  EXPECT_TRUE(
      result.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size())));
  return result;
}

}  // namespace postern::testing_support
