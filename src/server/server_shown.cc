// What children show: documents and settled that we may have lost (rule D10), and notices of what
// they lost (rule D5).

#include <algorithm>

#include "server/server.h"

namespace postern {
namespace {

std::string path_of(const wire::pb::Notice& notice, const std::string& last) {
  std::string path;
  for (const auto& hop : notice.path()) path += hop.name() + " -> ";
  return path + last;
}

}  // namespace

void Server::on_document(node::Child& child, const wire::Message& message) {
  wire::pb::Signed document;
  if (!document.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size())))
    return;
  const std::uint64_t channel = child.channel_id();
  if (!asks(channel, &Asked::documents, kShownDocumentsMax)) return;
  auto taken = trust_.take(document, around_.clock.wall());
  if (!taken) {
    log_.debug("a document that {} shows is not believed: {}", child.who().name,
               taken.error().message);
    answered(channel, &Asked::documents);
    return;
  }
  if (static_cast<node::DocumentType>(taken->body.type()) == node::DocumentType::tick) {
    ticks_.on_document(taken->body.type(), {taken->body.generation(), taken->body.number()});
    if (taken->body.generation() <= generation_) {
      answered(channel, &Asked::documents);
      return;
    }
    judge_shown(channel, &Asked::documents, [this, generation = taken->body.generation()] {
      return registry_->meet_generation(generation);
    });
    return;
  }
  shown_.push_back({channel, std::move(document)});
  if (shown_.size() == 1)
    core_.post([this, alive = alive_] {
      if (*alive) adopt_shown();
    });
}

/// All of a turn together: whoever shows it first, an approval never comes before the deny list
/// that takes it back.
void Server::adopt_shown() {
  std::vector<std::uint64_t> channels;
  std::vector<wire::pb::Signed> documents;
  for (Shown& shown : std::exchange(shown_, {})) {
    channels.push_back(shown.channel);
    documents.push_back(std::move(shown.document));
  }
  deny_lists_first(documents);
  store_thread_->post([this, alive = alive_, channels = std::move(channels),
                       documents = std::move(documents)]() mutable {
    std::uint32_t opened = 0;
    for (const wire::pb::Signed& document : documents) {
      const auto adopted = registry_->adopt(document);
      if (!adopted)
        log_.error("a document that was shown is not taken over: {}", adopted.error().message);
      else if (!adopted->refused.empty())
        log_.warning("a document that was shown is not taken over: {}", adopted->refused);
      if (adopted) opened = std::max(opened, adopted->opened.value_or(0));
    }
    auto issued = registry_->take_documents();
    core_.post([this, alive, channels = std::move(channels), issued = std::move(issued),
                opened]() mutable {
      if (!*alive) return;
      for (const std::uint64_t channel : channels) answered(channel, &Asked::documents);
      on_generation(opened);
      spread(std::move(issued));
    });
  });
}

void Server::on_settled(node::Child& child, const wire::Message& message) {
  const std::uint64_t channel = child.channel_id();
  auto view = wire::read_settled(message.bytes());
  if (!view || !asks(channel, &Asked::settled, kShownSettledMax)) return;
  if (auto believed = trust_.believe(*view, around_.clock.wall()); !believed) {
    log_.warning("a settled that {} shows is not believed: {}", child.who().name,
                 believed.error().message);
    answered(channel, &Asked::settled);
    return;
  }
  judge_shown(channel, &Asked::settled,
              [this, settled = view->settled] { return registry_->meet_settled(settled); });
}

/// On the store thread; a generation that it opened begins here.
void Server::judge_shown(std::uint64_t channel, std::size_t Asked::*what,
                         std::function<Result<std::optional<std::uint32_t>>()> judge) {
  store_thread_->post([this, alive = alive_, channel, what, judge = std::move(judge)] {
    auto opened = judge();
    if (!opened) log_.error("what was shown is not judged: {}", opened.error().message);
    core_.post([this, alive, channel, what, opened = opened.value_or(std::nullopt)] {
      if (!*alive) return;
      answered(channel, what);
      if (opened) on_generation(*opened);
    });
  });
}

/// The store lost commits: what was said of it before counts no more (rule D10). Everybody is told
/// at once, and what their streams have is asked and answered anew.
void Server::on_generation(std::uint32_t generation) {
  if (generation <= generation_) return;
  log_.error("the store lost commits: generation {} begins", generation);
  generation_ = generation;
  settler_ = Settler();
  store_thread_->post([this] {
    if (auto read = registry_->read_again(); !read)
      log_.error("the registry cannot be read: {}", read.error().message);
  });
  tick();
  std::vector<std::uint64_t> channels;
  children_->for_each([&](node::Child& child) {
    Asked& asked = asked_[child.channel_id()];
    for (const wire::StreamKey& stream : child.offered()) asked.offered.insert(stream);
    if (!asked.answering) channels.push_back(child.channel_id());
  });
  for (const std::uint64_t channel : channels) answer_offers(channel);
}

void Server::on_notice(node::Child& child, const wire::Message& message) {
  wire::pb::Notice notice;
  if (child.who().role != node::Role::gateway || message.bytes().size() > kPresenceBytesMax ||
      !notice.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size())))
    return;
  Reader in(as_bytes(notice.stream()));
  const auto stream = wire::StreamKey::read(in);
  if (!stream || !in.exhausted() || notice.first() == 0 || notice.last() < notice.first() ||
      !asks(child.channel_id(), &Asked::notices, kShownDocumentsMax))
    return;
  store::Loss loss;
  loss.kind = store::Loss::Kind::notice;
  loss.stream = *stream;
  loss.first = notice.first();
  loss.last = notice.last();
  loss.noted = around_.clock.wall();
  loss.reason = notice.words().substr(0, 200);
  loss.where = path_of(notice, child.who().name);
  store_thread_->post([this, alive = alive_, channel = child.channel_id(), loss = std::move(loss)] {
    if (registry_->find_member(loss.stream.node) != nullptr)
      if (auto noted = store_->note_loss(loss); !noted)
        log_.warning("a notice is not kept: {}", noted.error().message);
    core_.post([this, alive, channel] {
      if (*alive) answered(channel, &Asked::notices);
    });
  });
}

}  // namespace postern
