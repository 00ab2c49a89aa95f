#include "node/trust.h"

#include <algorithm>

#include "node/self.h"
#include "node/signed.h"

namespace postern::node {
namespace {

Scope scope_of(std::uint32_t type) {
  switch (static_cast<DocumentType>(type)) {
    case DocumentType::tick:
      return Scope::ticks;
    case DocumentType::anchors:
      return Scope::authority;
    default:
      return Scope::documents;
  }
}

const char* name_of(std::uint32_t type) {
  static constexpr const char* kNames[] = {"unknown",  "delegation", "successor",
                                           "approval", "deny",       "configuration",
                                           "tick",     "task",       "anchors"};
  return type < std::size(kNames) ? kNames[type] : kNames[0];
}

NodeId node_id_from(std::string_view bytes) {
  NodeId id;
  if (bytes.size() == id.bytes.size()) std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
  return id;
}

}  // namespace

Trust::Trust(const Log& log, std::optional<PublicKey> root, std::filesystem::path folder, Save save)
    : log_(log), root_(std::move(root)), folder_(std::move(folder)), save_(std::move(save)) {}

void Trust::load(Disk& disk, WallTime now) {
  const auto there = disk.exists(folder_);
  if (!there || !*there) return;
  auto names = disk.list(folder_);
  if (!names) {
    log_.warning("documents are not read: {}", names.error().message);
    return;
  }
  // "delegation-..." sorts behind "approval-...", and everything needs the delegations first.
  std::partition(names->begin(), names->end(),
                 [](const std::string& name) { return name.starts_with("delegation"); });
  for (const std::string& name : *names) {
    if (!name.ends_with(".signed")) continue;
    auto bytes = disk.read_file(folder_ / name, kDocumentBodyMax + 1024);
    wire::pb::Signed document;
    if (!bytes || !document.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()))) {
      log_.warning("document {} cannot be read and is ignored", (folder_ / name).string());
      continue;
    }
    if (auto taken = verify_and_keep(document, now); !taken)
      log_.warning("document {} is not believed: {}", (folder_ / name).string(),
                   taken.error().message);
  }
}

Result<const PublicKey*> Trust::signer(std::uint64_t number, Scope scope, WallTime now) const {
  if (!root_)
    return fail(Errc::denied, "this node has no pinned group root; import the group file");
  if (number == 0) return &*root_;
  const auto found = delegations_.find(number);
  if (found == delegations_.end())
    return fail(Errc::denied, "delegation {} is not known here", number);
  if (!found->second.scopes.contains(scope))
    return fail(Errc::denied, "delegation {} is not for this kind of document", number);
  if (found->second.not_after_ms != 0 && found->second.not_after_ms < to_ms(now))
    return fail(Errc::denied, "delegation {} ended {}", number,
                to_rfc3339(wall_from_ms(found->second.not_after_ms)));
  return &found->second.key;
}

Result<Trust::Taken> Trust::take(const wire::pb::Signed& document, WallTime now) {
  auto taken = verify_and_keep(document, now);
  if (taken && taken->is_new)
    save_(file_of(taken->body), to_bytes(std::string_view(document.SerializeAsString())));
  return taken;
}

Result<Trust::Taken> Trust::verify_and_keep(const wire::pb::Signed& document, WallTime now) {
  if (document.body().size() > kDocumentBodyMax)
    return fail(Errc::invalid, "a document of {} bytes; the limit is {}", document.body().size(),
                kDocumentBodyMax);
  Taken taken;
  wire::pb::DocumentBody& body = taken.body;
  if (!body.ParseFromString(document.body()) || body.version() != 1)
    return fail(Errc::invalid, "a document that cannot be read, or of another version");
  if (!root_)
    return fail(Errc::denied, "this node has no pinned group root; import the group file");
  if (node_id_from(body.group_id()) != root_->node_id())
    return fail(Errc::denied, "a {} document of another group", name_of(body.type()));
  const bool only_root = body.type() == static_cast<std::uint32_t>(DocumentType::delegation) ||
                         body.type() == static_cast<std::uint32_t>(DocumentType::successor);
  if (only_root && document.signer() != 0)
    return fail(Errc::denied, "a {} that is not signed by the group root", name_of(body.type()));
  auto key = signer(document.signer(), scope_of(body.type()), now);
  if (!key) return std::unexpected(key.error());
  if (!verifies(**key, kDocumentContext, document))
    return fail(Errc::denied, "a {} document whose signature does not verify",
                name_of(body.type()));
  if (body.expires_ms() != 0 && body.expires_ms() < to_ms(now))
    return fail(Errc::denied, "a {} document that expired {}", name_of(body.type()),
                to_rfc3339(wall_from_ms(body.expires_ms())));

  const bool delegation = body.type() == static_cast<std::uint32_t>(DocumentType::delegation);
  const auto key_of =
      std::pair(body.type(), delegation ? std::to_string(body.number()) : body.audience());
  const auto known = kept_.find(key_of);
  if (known != kept_.end()) {
    const auto have = std::pair(known->second.generation, known->second.number);
    const auto got = std::pair(body.generation(), body.number());
    if (got < have) return taken;
    if (got == have) {
      if (known->second.document.body() != document.body())
        return fail(Errc::denied, "two different {} documents have the number {}",
                    name_of(body.type()), body.number());
      return taken;
    }
  }
  if (body.type() == static_cast<std::uint32_t>(DocumentType::approval) && known == kept_.end() &&
      kept_.size() >= kApprovalsKeptMax)
    return fail(Errc::exhausted, "more than {} documents are kept here already", kApprovalsKeptMax);
  if (auto applied = apply(body); !applied) return std::unexpected(applied.error());
  kept_[key_of] = {body.generation(), body.number(), document,
                   to_bytes(std::string_view(body.payload()))};
  taken.is_new = true;
  return taken;
}

Result<> Trust::apply(const wire::pb::DocumentBody& body) {
  switch (static_cast<DocumentType>(body.type())) {
    case DocumentType::delegation: {
      wire::pb::Delegation delegation;
      if (!delegation.ParseFromString(body.payload()) || delegation.number() != body.number() ||
          delegation.number() == 0)
        return fail(Errc::invalid, "a delegation that cannot be read");
      auto key = PublicKey::from_spki(as_bytes(delegation.public_key()));
      if (!key) return fail(key.error(), "a delegation's key");
      std::set<Scope> scopes;
      for (const std::uint32_t scope : delegation.scopes())
        scopes.insert(static_cast<Scope>(scope));
      delegations_.insert_or_assign(delegation.number(),
                                    Delegated{*key, scopes, delegation.not_after_ms()});
      return {};
    }
    case DocumentType::approval: {
      wire::pb::Approval approval;
      if (!approval.ParseFromString(body.payload()) || approval.node_id() != body.audience())
        return fail(Errc::invalid, "an approval that is not for its audience");
      return {};
    }
    case DocumentType::deny: {
      wire::pb::DenyList list;
      if (!list.ParseFromString(body.payload()) ||
          static_cast<std::size_t>(list.entries_size()) > kDenyEntriesMax)
        return fail(Errc::invalid, "a deny list that cannot be read or has more than {} entries",
                    kDenyEntriesMax);
      denied_nodes_.clear();
      denied_keys_.clear();
      denied_serials_.clear();
      for (const auto& entry : list.entries()) {
        if (const NodeId id = node_id_from(entry.node_id())) denied_nodes_[id] = entry.reason();
        if (entry.tls_key_sha256().size() == sizeof(Digest))
          denied_keys_[digest_of_field(entry.tls_key_sha256())] = entry.reason();
        const std::string serial = serial_text(as_bytes(entry.serial()));
        const bool one_issuer = entry.issuer_sha256().size() == sizeof(Digest);
        if (!serial.empty() && (one_issuer || entry.issuer_sha256().empty()))
          denied_serials_[{serial, digest_of_field(entry.issuer_sha256())}] = entry.reason();
      }
      return {};
    }
    case DocumentType::tick: {
      wire::pb::Tick tick;
      if (!tick.ParseFromString(body.payload()))
        return fail(Errc::invalid, "a tick that cannot be read");
      tick_time_ = wall_from_ms(tick.time_ms());
      generation_ = tick.generation();
      return {};
    }
    case DocumentType::anchors: {
      auto list = AnchorList::from_payload(as_bytes(body.payload()));
      if (!list) return std::unexpected(list.error());
      if (!body.audience().empty()) return fail(Errc::invalid, "anchors for one node alone");
      anchors_ = {std::move(*list), {body.generation(), body.number()}};
      return {};
    }
    default:
      return {};  // kept and shown, not acted on by this version
  }
}

Result<> Trust::believe(const wire::SettledView& view, WallTime now) const {
  const wire::Settled& settled = view.settled;
  if (!root_)
    return fail(Errc::denied, "this node has no pinned group root; import the group file");
  if (settled.group != root_->node_id()) return fail(Errc::denied, "a settled of another group");
  auto key = signer(settled.delegation, Scope::settled, now);
  if (!key) return std::unexpected(key.error());
  if (!(*key)->verifies(wire::kSettledContext, view.signed_part, view.signature))
    return fail(Errc::denied, "a settled of {} whose signature does not verify",
                settled.coverage.stream.text());
  return {};
}

Result<> Trust::believe(const wire::pb::Signed& message, std::string_view context, Scope scope,
                        WallTime now) const {
  auto key = signer(message.signer(), scope, now);
  if (!key) return std::unexpected(key.error());
  if (!verifies(**key, context, message))
    return fail(Errc::denied, "a message ({}) whose signature does not verify", context);
  return {};
}

std::optional<Trust::Denied> Trust::denied(const NodeId& id,
                                           const CertificateMark& certificate) const {
  if (const auto node = denied_nodes_.find(id); node != denied_nodes_.end())
    return Denied{node->second, false};
  return denied(certificate);
}

std::optional<Trust::Denied> Trust::denied(const CertificateMark& certificate) const {
  if (const auto key = denied_keys_.find(certificate.tls_key); key != denied_keys_.end())
    return Denied{key->second, true};
  for (const Digest& issuer : {certificate.issuer, Digest{}})
    if (const auto serial = denied_serials_.find({certificate.serial, issuer});
        serial != denied_serials_.end())
      return Denied{serial->second, true};
  return std::nullopt;
}

std::optional<Trust::Approved> Trust::approval(const NodeId& id) const {
  const auto found = kept_.find(
      {static_cast<std::uint32_t>(DocumentType::approval), std::string(as_text(id.bytes))});
  if (found == kept_.end()) return std::nullopt;
  Approved approved;
  approved.document = found->second.document;
  if (!approved.approval.ParseFromArray(found->second.payload.data(),
                                        static_cast<int>(found->second.payload.size())))
    return std::nullopt;
  return approved;
}

std::vector<wire::pb::Signed> Trust::for_children() const {
  return kept_of(
      {DocumentType::delegation, DocumentType::deny, DocumentType::anchors, DocumentType::tick});
}

std::vector<wire::pb::Signed> Trust::anchors_and_delegations() const {
  if (!anchors_) return {};
  return kept_of({DocumentType::delegation, DocumentType::anchors});
}

std::vector<wire::pb::Signed> Trust::kept_of(std::initializer_list<DocumentType> types) const {
  std::vector<wire::pb::Signed> documents;
  for (const auto type : types)
    for (const auto& [key, kept] : kept_)
      if (key.first == static_cast<std::uint32_t>(type)) documents.push_back(kept.document);
  return documents;
}

std::vector<wire::pb::DocumentNumber> Trust::numbers() const {
  std::map<std::uint32_t, std::pair<std::uint32_t, std::uint64_t>> newest;
  for (const auto& [key, kept] : kept_)
    newest[key.first] = std::max(newest[key.first], std::pair(kept.generation, kept.number));
  std::vector<wire::pb::DocumentNumber> numbers;
  for (const auto& [type, number] : newest) {
    wire::pb::DocumentNumber out;
    out.set_type(type);
    out.set_generation(number.first);
    out.set_number(number.second);
    numbers.push_back(out);
  }
  return numbers;
}

std::vector<wire::pb::Signed> Trust::newer_than(const wire::pb::DocumentBody& body) const {
  std::vector<wire::pb::Signed> newer;
  wire::pb::Tick tick;
  if (!tick.ParseFromString(body.payload())) return newer;
  std::map<std::uint32_t, std::pair<std::uint32_t, std::uint64_t>> known;
  for (const auto& number : tick.numbers())
    known[number.type()] = {number.generation(), number.number()};
  // Of ticks, whose times go with the clocks of several servers, only a newer generation matters.
  if (const auto kept = kept_.find({body.type(), body.audience()});
      kept != kept_.end() && kept->second.generation > body.generation())
    newer.push_back(kept->second.document);
  // A type that the tick does not name is one of which the server has none, or has none any more.
  for (const auto type : {DocumentType::deny, DocumentType::anchors, DocumentType::approval})
    for (const auto& [key, kept] : kept_)
      if (key.first == static_cast<std::uint32_t>(type) && newer.size() < kNewerShownMax &&
          std::pair(kept.generation, kept.number) > known[key.first])
        newer.push_back(kept.document);
  return newer;
}

std::vector<wire::pb::Signed> Trust::unknown_to(const wire::pb::Head& head) const {
  std::vector<wire::pb::Signed> unknown;
  for (const auto type : {DocumentType::deny, DocumentType::anchors}) {
    const auto kept = kept_.find({static_cast<std::uint32_t>(type), ""});
    if (kept == kept_.end()) continue;
    const bool known = std::ranges::any_of(head.documents(), [&](const auto& number) {
      return number.type() == kept->first.first &&
             Edition{number.generation(), number.number()} >=
                 Edition{kept->second.generation, kept->second.number};
    });
    if (!known) unknown.push_back(kept->second.document);
  }
  return unknown;
}

std::filesystem::path Trust::file_of(const wire::pb::DocumentBody& body) const {
  const bool delegation = body.type() == static_cast<std::uint32_t>(DocumentType::delegation);
  const std::string audience =
      delegation ? std::to_string(body.number())
                 : (body.audience().empty() ? "all" : to_hex(as_bytes(body.audience())));
  return folder_ / fmt::format("{}-{}.signed", name_of(body.type()), audience);
}

wire::pb::Signed sign_document(const wire::pb::DocumentBody& body, const PrivateKey& key,
                               std::uint64_t number) {
  return sign(key, kDocumentContext, body.SerializeAsString(), number);
}

}  // namespace postern::node
