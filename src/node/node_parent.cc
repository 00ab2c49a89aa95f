// What the parent says, and what we say to it on behalf of others.

#include <algorithm>

#include "node/node.h"

namespace postern::node {
namespace {

constexpr Duration kDiskRetry = std::chrono::seconds(2);
constexpr Duration kTrueCopyRetry = std::chrono::seconds(5);  // ours, after a bad one was refused
constexpr Duration kRepairRetry =
    std::chrono::seconds(60);  // answers that mean "this cannot go on as it is"

}  // namespace

// ---- What the parent says

std::optional<wire::pb::Signed> Node::own_approval() {
  auto approval = trust_.approval(identity_.self.id);
  if (!approval) return std::nullopt;
  return approval->document;
}

void Node::take(const wire::pb::Signed& document) {
  if (!trust_.pinned()) return;  // it obeys nothing; said at the start
  auto taken = trust_.take(document, around_.clock.wall());
  if (!taken) {
    log_.warning("a document from {} is not believed: {}", uplink_.parent(), taken.error().message);
    return;
  }
  const auto type = static_cast<DocumentType>(taken->body.type());
  if (type == DocumentType::tick) show_newer(taken->body);
  if (type == DocumentType::anchors) take_anchors();
  if (!taken->is_new) return;
  listener_.on_document(document, taken->body);
  if (type == DocumentType::deny) uplink_.refuse_denied();  // once it was passed on
}

/// What is kept here and a tick does not know of: the server may have lost it (W35).
void Node::show_newer(const wire::pb::DocumentBody& tick) {
  for (const wire::pb::Signed& document : trust_.newer_than(tick))
    uplink_.send(message_of(wire::Type::document, document));
}

void Node::on_attached(const wire::pb::Welcome& welcome) {
  // Delegations first: everything else is signed under them.
  for (const bool delegations : {true, false})
    for (const auto& document : welcome.documents()) {
      wire::pb::DocumentBody body;
      if (!body.ParseFromString(document.body())) continue;
      if ((body.type() == static_cast<std::uint32_t>(DocumentType::delegation)) == delegations)
        take(document);
    }
  stranded_ = false;
  uplink_.send(head());
  listener_.on_attached();
}

void Node::on_detached(const std::string&) { listener_.on_path_changed(); }

void Node::on_parent_message(const wire::Message& message) {
  const auto parse = [&](google::protobuf::MessageLite& into) {
    return into.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()));
  };
  switch (message.type) {
    case wire::Type::stored:
      return on_stored(message);
    case wire::Type::settled:
      return on_settled(message);
    case wire::Type::answer:
      return on_answer(message);
    case wire::Type::document: {
      wire::pb::Signed document;
      if (parse(document)) take(document);
      return;
    }
    case wire::Type::request: {
      wire::pb::Request request;
      if (parse(request)) on_request(request);
      return;
    }
    case wire::Type::reply: {
      wire::pb::Reply reply;
      if (!parse(reply)) return;
      if ((reply.id() & kOwnCertificate) == kOwnCertificate)
        on_certificate(reply);
      else if ((reply.id() & kOwnRequest) != 0)
        on_confirmed(reply);
      else
        listener_.on_reply(reply);
      return;
    }
    case wire::Type::path: {
      wire::pb::Path path;
      if (!parse(path)) return;
      uplink_.set_path({path.path().begin(), path.path().end()});
      listener_.on_path_changed();
      return;
    }
    default:
      log_.debug("{} from the parent is not used by this version", wire::to_string(message.type));
  }
}

void Node::on_stored(const wire::Message& message) {
  auto list = wire::decode_coverages(message.bytes());
  if (!list) {
    log_.warning("a stored from {} cannot be read: {}", uplink_.parent(), list.error().message);
    return;
  }
  for (const wire::Coverage& coverage : *list)
    if (relay_.on_stored(coverage, core_.now())) listener_.on_lost(coverage.stream);
}

void Node::on_settled(const wire::Message& message) { take_settled(message.body); }

void Node::take_settled(SharedBytes message) {
  auto view = wire::read_settled(*message);
  if (!view) {
    log_.warning("a settled from {} cannot be read: {}", uplink_.parent(), view.error().message);
    return;
  }
  if (auto believed = trust_.believe(*view, around_.clock.wall()); !believed) {
    log_.warning("a settled from {} is not believed: {}", uplink_.parent(),
                 believed.error().message);
    return;
  }
  const wire::StreamKey stream = view->settled.coverage.stream;
  auto verdict = relay_.on_settled(view->settled, message, core_.now());
  for (; verdict.contradicted; verdict = relay_.on_settled(view->settled, message, core_.now())) {
    const std::uint64_t sequence = *verdict.contradicted;
    log_.warning("the management server has another batch {} of {}: our copy goes", sequence,
                 stream.text());
    spool_->release(relay_.forget(stream, {sequence, sequence}));
    listener_.on_lost(stream);
  }
  if (verdict.rewound) on_rewound();
  if (verdict.behind) show_settled(stream);
  if (stream.node == identity_.self.id) on_set_back(view->settled.coverage);
  // One that says less than what is known may be a replay: it is neither kept nor passed on.
  if (!verdict.accepted) return;
  spool_->note_settled(stream, message);
  listener_.on_settled(stream, std::move(message));
}

void Node::on_rewound() {
  log_.warning("the management server opened generation {}: what older ones settled counts no more",
               relay_.generation());
  origin_->on_rewound();
  listener_.on_rewound();
}

/// What became of a batch of an older epoch (W55). Both answers are signed; nothing else counts.
void Node::on_confirmed(const wire::pb::Reply& reply) {
  wire::pb::ConfirmReply confirmed;
  if (!confirmed.ParseFromString(reply.body())) return;
  if (!confirmed.settled().empty())
    take_settled(std::make_shared<const Bytes>(to_bytes(std::string_view(confirmed.settled()))));
  if (confirmed.evidence().size() == wire::kBatchHeaderBytes)
    on_evidence(origin_->stream(wire::Lane::state), as_bytes(confirmed.evidence()));
}

void Node::on_answer(const wire::Message& message) {
  wire::pb::Answer answer;
  if (!answer.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size())))
    return;
  Reader in(as_bytes(answer.stream()));
  auto stream = wire::StreamKey::read(in);
  if (!stream || in.failed()) return;
  const bool ours = stream->node == identity_.self.id;
  switch (answer.verdict()) {
    case 1:  // copy refused
      log_.error("{} refuses our copy of batch {} of {}: {}", uplink_.parent(), answer.sequence(),
                 stream->text(), answer.words());
      if (ours) {
        // The origin's copy is the last one: it stays, whatever a hop says (rule D3).
        relay_.on_not_yet(*stream, answer.sequence(), core_.now() + kTrueCopyRetry);
      } else if (auto location = relay_.on_copy_refused(*stream, answer.sequence(),
                                                        digest_of_field(answer.hash()))) {
        spool_->release({*location});
        listener_.on_copy_refused(*stream, answer);
        listener_.on_lost(*stream);
        notify(*stream, {answer.sequence(), answer.sequence()}, 3, answer.words());
      }
      return;
    case 2:
      log_.error("the management server refuses batch {} of {} for good: {}", answer.sequence(),
                 stream->text(), answer.words());
      return;  // it is settled as refused; the signed word releases it
    default: {
      const auto wait = std::clamp<Duration>(std::chrono::milliseconds(answer.retry_after_ms()),
                                             std::chrono::seconds(1), kRepairRetry);
      relay_.on_not_yet(*stream, answer.sequence(), core_.now() + wait);
      if (!answer.evidence().empty()) on_contradicted(*stream, answer);
      log_.debug("batch {} of {} is to be sent again: {}", answer.sequence(), stream->text(),
                 answer.words());
    }
  }
}

/// Another batch of that number is known above (rule D1). Of our own the origin decides. Another
/// node's copy goes, so that it does not stand in the way of the other batch, and whoever gave it
/// hears why: the origin keeps its own, and the evidence speaks for itself.
void Node::on_contradicted(const wire::StreamKey& stream, const wire::pb::Answer& answer) {
  if (stream.node == identity_.self.id) return on_evidence(stream, as_bytes(answer.evidence()));
  if (auto location =
          relay_.on_copy_refused(stream, answer.sequence(), digest_of_field(answer.hash())))
    spool_->release({*location});
  listener_.on_copy_refused(stream, answer);
  listener_.on_lost(stream);
}

void Node::read_from_spool(const relay::Held& held) {
  spool_->read(
      held.location, [this, stream = held.stream, sequence = held.sequence](Result<Bytes> bytes) {
        if (bytes) {
          relay_.loaded(stream, sequence, std::make_shared<const Bytes>(std::move(*bytes)));
        } else if (bytes.error().code == Errc::corrupt) {
          log_.error("batch {} of {} cannot be read from the spool: {}", sequence, stream.text(),
                     bytes.error().message);
          on_unreadable(stream, sequence);
        } else {
          relay_.read_failed(stream, sequence, core_.now() + kDiskRetry);
        }
        uplink_.pump();
      });
}

/// A question from the server on its way down (W52, W54).
void Node::on_request(const wire::pb::Request& request) {
  const NodeId target = node_id_of_field(request.target());
  const bool ours = target == identity_.self.id;
  const WallTime now = around_.clock.wall();
  wire::pb::Signed question;
  if (!question.ParseFromString(request.body())) return;
  if (request.kind() == kTraceRequest) {
    if (!ours) return listener_.pass_down(target, request);
    if (auto believed = trust_.believe(question, kTraceContext, Scope::documents, now); !believed) {
      log_.warning("a trace is not answered: {}", believed.error().message);
      return;
    }
    wire::pb::TraceQuestion trace;
    if (trace.ParseFromString(question.body())) on_trace(trace);
    return;
  }
  if (request.kind() != kHoleRequest) return;
  if (auto believed = trust_.believe(question, kHoleContext, Scope::settled, now); !believed) {
    log_.warning("a question for a hole is not answered: {}", believed.error().message);
    return;
  }
  wire::pb::HoleQuestion hole;
  if (!hole.ParseFromString(question.body())) return;
  Reader in(as_bytes(hole.stream()));
  const auto stream = wire::StreamKey::read(in);
  if (!stream || !in.exhausted() || stream->node != target || hole.first() == 0 ||
      hole.last() < hole.first())
    return;
  const auto hash_in = [](const std::string& field) {
    return field.size() == sizeof(Digest) ? std::optional(digest_of_field(field)) : std::nullopt;
  };
  const relay::Relay::Edges edges{hash_in(hole.before()), hash_in(hole.at_last())};
  const std::uint32_t generation = relay_.generation();
  const auto missing = relay_.on_question(*stream, {hole.first(), hole.last()}, hole.generation(),
                                          edges, core_.now());
  if (generation != 0 && relay_.generation() != generation) on_rewound();
  if (relay_.covers_settled(*stream, {hole.first(), hole.last()})) show_settled(*stream);
  if (ours)
    on_hole({*stream, {hole.first(), hole.last()}, edges.before, edges.at_last});
  else if (!missing.empty())
    listener_.pass_down(target, request);
  uplink_.pump();
}

/// Of two signed words ours says more than the server knows: its store lost commits (W34).
void Node::show_settled(const wire::StreamKey& stream) {
  wire::Message shown = wire::make_message(wire::Type::settled, {});
  shown.body = relay_.settled_message(stream);
  if (shown.body) uplink_.send(std::move(shown));
}

/// What this hop does not have any more (W36).
void Node::notify(const wire::StreamKey& stream, relay::Range range, std::uint32_t reason,
                  const std::string& words) {
  if (stream.node == identity_.self.id) return;  // the origin's word is its gap record
  Writer key;
  stream.write(key);
  wire::pb::Notice notice;
  notice.set_stream(field_of(key.written()));
  notice.set_first(range.first);
  notice.set_last(range.last);
  notice.set_reason(reason);
  notice.set_words(words);
  notice.set_time_ms(to_ms(around_.clock.wall()));
  uplink_.send(message_of(wire::Type::notice, notice));
}

}  // namespace postern::node
