#include "server/sightings.h"

#include "node/signed.h"

namespace postern {
namespace {

/// nullopt: not a head of a member, or not as it signed it.
std::optional<store::Store::Seen> verify_head(const Sighting& sighting, wire::pb::Head& head,
                                              const Noting& by) {
  const auto& [store, registry, self, log, clock, watch] = by;
  const wire::pb::Signed& message = sighting.head->message;
  if (!head.ParseFromString(message.body())) return std::nullopt;
  const NodeId id = node::node_id_of_field(head.node_id());
  const Registry::Member* member = registry.find_member(id);
  if (member == nullptr || member->over()) return std::nullopt;
  if (!node::verifies(member->key, node::kHeadContext, message)) {
    const auto* child = registry.member(sighting.head->by);
    const std::string words =
        fmt::format("a head of {} is not as it signed it; it came by {}", member->name,
                    child != nullptr ? child->name : sighting.head->by.hex());
    log.error("{}", words);
    watch.on_finding(id, words);
    return std::nullopt;
  }
  store::Store::Seen seen;
  seen.id = id;
  seen.time = sighting.seen.time;
  seen.connected = true;
  seen.software = head.software();
  if (head.tls_not_after_ms() != 0)
    seen.certificate_not_after = wall_from_ms(head.tls_not_after_ms());
  if (const std::string serial = serial_text(as_bytes(head.certificate_serial()));
      !head.tls_key_sha256().empty())
    seen.certificate = {node::digest_of_field(head.tls_key_sha256()),
                        node::digest_of_field(head.certificate_issuer_sha256()), serial};
  seen.head_number = head.number();
  seen.head = to_bytes(std::string_view(message.SerializeAsString()));
  // The first stamp is the node itself, as its parent saw it; the others are the hops above it.
  const std::vector<wire::Stamp>& stamps = sighting.head->stamps;
  std::vector<std::string> path;
  for (std::size_t i = 1; i < stamps.size(); ++i)
    if (const auto* hop = registry.member(stamps[i].from)) path.push_back(hop->name);
  if (!stamps.empty())
    if (const auto* hop = registry.member(sighting.head->by)) path.push_back(hop->name);
  path.push_back(self.name);
  seen.path = std::move(path);
  for (const auto& stream : head.streams()) {
    if (stream.lane() > 0xff || !wire::is_lane(static_cast<std::uint8_t>(stream.lane()))) continue;
    const wire::StreamKey key{id,
                              {stream.epoch_ordinal(), stream.epoch_random()},
                              static_cast<wire::Lane>(stream.lane())};
    seen.sealed.push_back({key, stream.sealed(), node::digest_of_field(stream.hash())});
  }
  if (head.spool_bytes_max() != 0 && !head.pinned_root_sha256().empty() &&
      node::digest_of_field(head.pinned_root_sha256()) != self.root_sha256)
    log.error("{} has pinned another group root than ours", member->name);
  return seen;
}

}  // namespace

void Sightings::add(Sighting sighting) {
  const bool own = sighting.bytes == 0;
  if (waiting_.size() >= (own ? kOwnSightingsMax : kSightingsMax) ||
      bytes_ + sighting.bytes > kSightingBytesMax) {
    ++dropped_;
    return;
  }
  bytes_ += sighting.bytes;
  waiting_.push_back(std::move(sighting));
}

std::vector<Sighting> Sightings::take() {
  bytes_ = 0;
  return std::exchange(waiting_, {});
}

Result<Noted> note_sightings(const std::vector<Sighting>& sightings, const Noting& by) {
  std::vector<store::Store::Seen> all;
  std::vector<std::pair<const Sighting*, wire::pb::Head>> heads;
  Noted result;
  for (const Sighting& sighting : sightings) {
    wire::pb::Head head;
    if (!sighting.head) {
      all.push_back(sighting.seen);
    } else if (auto seen = verify_head(sighting, head, by)) {
      result.ways.push_back({seen->id, sighting.head->channel, seen->head_number.value_or(0)});
      all.push_back(std::move(*seen));
      heads.emplace_back(&sighting, std::move(head));
    }
  }
  auto noted = by.store.seen(all);
  if (!noted) return std::unexpected(noted.error());
  result.ignored = sightings.size() - *noted;
  const TimePoint now = by.clock.now();
  for (const auto& [sighting, head] : heads)
    by.watch.on_head(head, sighting->head->stamps, sighting->head->by, now, *sighting->seen.time);
  return result;
}

}  // namespace postern
