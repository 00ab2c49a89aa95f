// Who may come in, and what is heard of those that are there.

#include "node/strangers.h"
#include "server/server.h"

namespace postern {
namespace {

using node::Decision;
using node::message_of;
using node::Refusal;

Refusal too_many_admissions(std::size_t waiting) {
  return {wire::Refusal::busy,
          fmt::format("{} nodes wait for the management server's word already; ask again", waiting),
          std::chrono::seconds(5)};
}

}  // namespace

node::Decision Server::decide(const node::Candidate& candidate,
                              const std::vector<std::string>& path,
                              std::vector<wire::pb::Signed>& documents) {
  Decision decision = registry_->admit(candidate, path);
  documents = registry_->take_documents();
  return decision;
}

void Server::admit(const node::Candidate& candidate, std::function<void(Decision)> decided) {
  if (const auto denied = trust_.denied(candidate.who.id, candidate.who.certificate)) {
    decided(std::unexpected(refusal_for(*denied, candidate.who.name)));
    return;
  }
  if (admissions_ >= kAdmissionsMax) {
    decided(std::unexpected(too_many_admissions(admissions_)));
    return;
  }
  ++admissions_;
  store_thread_->post([this, alive = alive_, candidate, decided = std::move(decided)]() mutable {
    std::vector<wire::pb::Signed> documents;
    Decision decision = decide(candidate, {identity_.self.name}, documents);
    core_.post([this, alive, name = candidate.who.name, decision = std::move(decision),
                decided = std::move(decided), documents = std::move(documents)]() mutable {
      if (!*alive) return;
      --admissions_;
      spread(std::move(documents));
      if (!decision) changed("pending", name);
      if (decision) decision->documents = trust_.for_children();
      decided(std::move(decision));
    });
  });
}

/// A gateway asks for a node that knocked at it, or at a gateway below it (channel.md#W51).
void Server::on_request(node::Child& child, const wire::Message& message) {
  wire::pb::Request request;
  wire::pb::Admission admission;
  const bool readable =
      request.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()));
  if (readable && request.kind() == node::kConfirmRequest) return on_confirm(child, request);
  if (readable && request.kind() == node::kCertificateRequest)
    return on_certificate_request(child, request);
  if (readable && request.kind() == node::kJoinRequest) return on_join_request(child, request);
  if (!readable || request.kind() != 1 || child.who().role != node::Role::gateway ||
      !admission.ParseFromString(request.body())) {
    log_.debug("a request from {} is not answered", child.who().name);
    return;
  }
  const auto reply_with = [this, channel = child.channel_id(),
                           id = request.id()](Decision decision) {
    node::Child* asker = children_->by_channel(channel);
    if (asker == nullptr) return;
    wire::pb::Reply reply;
    if (decision) {
      wire::pb::AdmissionReply admitted;
      *admitted.mutable_approval() = *decision->approval;
      for (const auto& document : trust_.for_children()) *admitted.add_documents() = document;
      reply.set_body(admitted.SerializeAsString());
    } else {
      reply = node::reply_of(decision.error());
    }
    reply.set_id(id);
    asker->send(message_of(wire::Type::reply, reply));
  };

  // What a gateway says of a stranger is checked again: it must not bring in what it invented.
  node::Candidate candidate;
  candidate.hello = admission.hello();
  candidate.address = admission.address();
  for (const std::string& der : admission.chain())
    if (auto certificate = Certificate::from_der(as_bytes(der)))
      candidate.chain.push_back(std::move(*certificate));
  if (admission.exporter().size() == candidate.exporter.size())
    std::memcpy(candidate.exporter.data(), admission.exporter().data(), candidate.exporter.size());
  auto wrong =
      why_refused(candidate.chain, tls_->anchors(),
                  {.now = tls_->now(), .name = candidate.hello.name(), .as_server = false});
  if (!wrong) wrong = tls_->revoked(candidate.chain);
  if (wrong) {
    reply_with(
        std::unexpected(Refusal{refusal_of(wrong->reason), wrong->words, std::chrono::minutes(1)}));
    return;
  }
  auto who = node::verify_hello(candidate.hello, candidate.chain.front().mark(), candidate.exporter,
                                identity_.self);
  if (!who) {
    reply_with(std::unexpected(who.error()));
    return;
  }
  candidate.who = *who;
  if (const auto denied = trust_.denied(candidate.who.id, candidate.who.certificate)) {
    reply_with(std::unexpected(refusal_for(*denied, candidate.who.name)));
    return;
  }
  if (!admission.twin_of().empty()) {
    note_twin(candidate.who, node::harmless(admission.twin_of()), node::harmless(candidate.address),
              child.who().name);
    return;
  }
  if (admissions_ >= kAdmissionsMax ||
      !asks(child.channel_id(), &Asked::admissions, kAdmissionsPerChildMax)) {
    reply_with(std::unexpected(too_many_admissions(admissions_)));
    return;
  }
  ++admissions_;
  std::vector<std::string> path;
  for (const auto& hop : admission.path()) path.push_back(hop.name());
  path.push_back(child.who().name);
  path.push_back(settings_.name);
  store_thread_->post([this, alive = alive_, candidate = std::move(candidate),
                       path = std::move(path), channel = child.channel_id(), reply_with]() mutable {
    std::vector<wire::pb::Signed> documents;
    Decision decision = decide(candidate, path, documents);
    core_.post([this, alive, name = candidate.who.name, decision = std::move(decision),
                documents = std::move(documents), channel, reply_with]() mutable {
      if (!*alive) return;
      --admissions_;
      answered(channel, &Asked::admissions);
      if (!decision) changed("pending", name);
      spread(std::move(documents));
      reply_with(std::move(decision));
    });
  });
}

void Server::on_twin(const node::Child& child, const node::Candidate& twin) {
  note_twin(twin.who, child.peer().address, twin.address, settings_.name);
}

void Server::note_twin(const node::Neighbour& who, const std::string& first,
                       const std::string& second, const std::string& by) {
  const std::string words = fmt::format(
      "a second machine has the identity of {}: {} is connected to {}, {} came besides; a copied "
      "state folder: stop one of them, and set it up anew with an empty state folder",
      who.name, first, by, second);
  if (by != settings_.name) log_.error("{}", words);
  store_thread_->post([this, id = who.id, words, name = who.name] {
    node_watch_->on_finding(id, words);
    if (auto noted = store_->audit(
            {around_.clock.wall(), settings_.name, "second machine of an identity", name, words});
        !noted)
      log_.warning("the second machine of {} is not in the audit list: {}", name,
                   noted.error().message);
  });
}

bool Server::asks(std::uint64_t channel, std::size_t Asked::*what, std::size_t max) {
  const auto known = asked_.find(channel);
  if (known != asked_.end() && known->second.*what >= max) return false;
  ++(asked_[channel].*what);
  return true;
}

void Server::answered(std::uint64_t channel, std::size_t Asked::*what) {
  Asked& asked = asked_[channel];
  --(asked.*what);
  if (asked.idle()) asked_.erase(channel);
}

std::vector<wire::pb::Hop> Server::path() {
  wire::pb::Hop own;
  own.set_node_id(node::field_of(identity_.self.id.bytes));
  own.set_name(identity_.self.name);
  own.set_role(static_cast<std::uint32_t>(node::Role::server));
  return {own};
}

// ---- Heads and presence

void Server::on_child(node::Child& child, const node::Candidate&) {
  Sighting sighting;
  sighting.seen.id = child.who().id;
  sighting.seen.time = around_.clock.wall();
  sighting.seen.connected = true;
  sighting.seen.address = child.peer().address;
  sighting.seen.path = std::vector{settings_.name};
  sighting.seen.certificate_not_after = child.certificate().not_after();
  sighting.seen.certificate = child.certificate().mark();
  note(std::move(sighting));
}

void Server::on_child_gone(const node::Child& child, const std::string&) {
  ways_.gone(child.channel_id());
  Sighting sighting;
  sighting.seen.id = child.who().id;
  sighting.seen.connected = false;
  note(std::move(sighting));
}

/// One transaction for all of a turn, one at a time.
void Server::note(Sighting sighting) {
  sightings_.add(std::move(sighting));
  if (std::exchange(noting_, true)) return;
  core_.post([this, alive = alive_] {
    if (*alive) note_next();
  });
}

void Server::note_next() {
  std::vector<Sighting> now = sightings_.take();
  noting_ = !now.empty();
  if (!noting_) return;
  for (const Sighting& sighting : now)
    if (sighting.seen.connected) changed("node", sighting.seen.id.hex());
  store_thread_->post([this, alive = alive_, now = std::move(now)] {
    auto noted = note_sightings(now, noting());
    if (!noted) log_.warning("{} sightings are not noted: {}", now.size(), noted.error().message);
    core_.post([this, alive, noted = noted.value_or(Noted{})] {
      if (!*alive) return;
      sightings_ignored_ += noted.ignored;
      for (const Noted::Way& way : noted.ways) {
        // One that came again, by another way perhaps, shows nothing (W53).
        if (head_numbers_[way.node] >= way.number) continue;
        head_numbers_[way.node] = way.number;
        ways_.learned(way.node, way.channel);
      }
      note_next();
    });
  });
}

void Server::on_child_message(node::Child& child, const wire::Message& message) {
  switch (message.type) {
    case wire::Type::head:
      return on_head(child, message);
    case wire::Type::presence:
      return on_presence(child, message);
    case wire::Type::request:
      return on_request(child, message);
    case wire::Type::document:
      return on_document(child, message);
    case wire::Type::settled:
      return on_settled(child, message);
    case wire::Type::notice:
      return on_notice(child, message);
    default:
      log_.debug("{} from {} is not used by this version", wire::to_string(message.type),
                 child.who().name);
  }
}

void Server::on_head(node::Child& child, const wire::Message& message) {
  auto stamped = wire::read_stamped(message.bytes());
  Sighting sighting;
  auto& head = sighting.head.emplace();
  if (!stamped ||
      !head.message.ParseFromArray(stamped->body.data(), static_cast<int>(stamped->body.size())))
    return;
  if (wire::pb::Head own; stamped->stamps.empty() && own.ParseFromString(head.message.body()))
    if (const auto unknown = trust_.unknown_to(own);
        !unknown.empty() && child.may_repeat(core_.now()))
      for (const auto& document : unknown) child.send(message_of(wire::Type::document, document));
  head.stamps = std::move(stamped->stamps);
  head.by = child.who().id;
  head.channel = child.channel_id();
  sighting.seen.time = around_.clock.wall();
  sighting.bytes = 1 + message.bytes().size();  // never nothing: that is our own word
  note(std::move(sighting));
}

/// A gateway's word about who is behind it: it may make a node's state worse, never better (rule
/// D6), and only of nodes whose data comes through it.
void Server::on_presence(node::Child& child, const wire::Message& message) {
  wire::pb::Presence presence;
  if (child.who().role != node::Role::gateway || message.bytes().size() > kPresenceBytesMax ||
      !presence.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()))) {
    ++sightings_ignored_;
    return;
  }
  Sighting sighting;
  sighting.seen.id = node::node_id_of_field(presence.node_id());
  sighting.seen.through = child.who().name;
  if (!presence.connected()) sighting.seen.connected = false;
  sighting.seen.address = presence.address();
  sighting.bytes = 1 + message.bytes().size();  // never nothing: that is our own word
  note(std::move(sighting));
}

}  // namespace postern
