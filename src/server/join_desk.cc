#include "server/join_desk.h"

#include "api/service.h"

namespace postern {
namespace {

using node::JoinReason;
using std::chrono::seconds;

constexpr seconds kBusyRetry{5};

std::string way(const JoinDesk::From& from) {
  return fmt::format("from {} over {}", from.address.empty() ? "an unknown address" : from.address,
                     fmt::join(from.path, ", "));
}

}  // namespace

JoinDesk::Answered JoinDesk::answer(std::string_view request, const From& from,
                                    const Group& group) {
  auto ask = node::read_join_request(request);
  if (!ask) {
    log_.info("a request to join {} is not answered: {}", way(from), ask.error().message);
    return {};
  }
  auto decided = decide(*ask, from, group);
  wire::pb::JoinReply reply;
  reply.set_ask_sha256(node::field_of(ask->sha256));
  reply.set_group(group.name);
  reply.set_time_ms(to_ms(clock_.wall()));
  if (decided) {
    reply.set_outcome(static_cast<std::uint32_t>(decided->approved ? node::JoinOutcome::approved
                                                                   : node::JoinOutcome::pending));
    for (const Certificate& certificate : decided->chain)
      reply.add_chain(node::field_of(certificate.der()));
    for (const Certificate& anchor : group.anchors.certificates())
      reply.add_anchors(node::field_of(anchor.der()));
  } else {
    reply.set_outcome(static_cast<std::uint32_t>(node::JoinOutcome::refused));
    reply.set_reason(static_cast<std::uint32_t>(decided.error().reason));
    reply.set_words(decided.error().words);
    reply.set_retry_after_ms(static_cast<std::uint32_t>(decided.error().retry_after.count()));
    reply.set_number(decided.error().number);
  }
  return {node::join_answer(reply, group.root, group.delegations, registry_.delegate().key,
                            registry_.delegate().number),
          ask->name};
}

std::expected<JoinDesk::Yes, JoinDesk::No> JoinDesk::decide(const node::JoinAsk& ask,
                                                            const From& from, const Group& group) {
  const auto busy = [](const Error& error) {
    return std::unexpected(No{JoinReason::busy, error.message, kBusyRetry});
  };
  auto token = store_.join_token(ask.token_id);
  if (!token) return busy(token.error());
  const auto key = *token ? PublicKey::from_spki((*token)->key) : fail(Errc::invalid, "no token");
  // One answer whether it is the token or the signature: who guesses learns nothing, and changes
  // nothing, not even the audit list (join.md#J22).
  if (!key || !ask.signed_by(*key)) {
    log_.info("{} {}: token {} is not known here, or not the one that signed", ask.name, way(from),
              ask.token_id);
    return std::unexpected(No{JoinReason::unknown,
                              fmt::format("the token {} is not known in this management group; an "
                                          "administrator makes one with: postern token create",
                                          ask.token_id)});
  }
  const auto refuse = [&](No no) {
    note_refusal(ask, from, no);
    return std::unexpected(std::move(no));
  };
  if (auto wrong = against(**token, ask)) return refuse(std::move(*wrong));
  const auto request = read_request(as_bytes(ask.csr));
  if (!request) return refuse({JoinReason::bad_request, request.error().message});
  if (request->names != std::vector{ask.name})
    return refuse(
        {JoinReason::bad_request, fmt::format("the certificate request is for {}, not for {} alone",
                                              fmt::join(request->names, ", "), ask.name)});
  const auto authority = folder_.authority();
  if (!authority) return busy(authority.error());

  const WallTime now = clock_.wall();
  const NodeId id = ask.identity.node_id();
  const auto used =
      store_.use_join_token({ask.token_id, id, ask.name, now, ask.number},
                            {now, "token " + ask.token_id, "joined by token", ask.name,
                             fmt::format("identity {}, {}", id.hex(), way(from))});
  if (!used) return busy(used.error());
  if (used->verdict == store::JoinUsed::Verdict::replayed)
    return refuse({JoinReason::replayed,
                   "this request, or a later one of the machine, was here already", seconds(1),
                   used->number});
  if (used->verdict == store::JoinUsed::Verdict::used_up)
    return refuse(
        {JoinReason::used_up,
         fmt::format("the token {} is for {} machine{}, and so many have used it; an "
                     "administrator makes another with: postern token create",
                     ask.token_id, (*token)->uses_max, (*token)->uses_max == 1 ? "" : "s")});
  const auto joined = registry_.join(
      {ask.identity, ask.name, static_cast<store::Role>(ask.role), from.address, from.path},
      **token);
  if (!joined) {
    const bool later = joined.error().reason == JoinReason::busy;
    return refuse({joined.error().reason, joined.error().words, later ? kBusyRetry : seconds(0)});
  }
  const auto certificate = authority->sign(
      as_bytes(ask.csr), {.name = ask.name, .lifetime = group.lifetime, .now = now}, random_);
  if (!certificate) return refuse({JoinReason::bad_request, certificate.error().message});
  if (registry_.revocations().find(certificate->mark()) != nullptr)
    return refuse({JoinReason::denied, "the key in the request was revoked with a certificate"});
  const store::AuditEntry entry{now, "token " + ask.token_id, "certificate signed",
                                certificate->subject(),
                                fmt::format("serial {}, valid until {}", certificate->serial(),
                                            to_rfc3339(certificate->not_after()))};
  if (auto noted = store_.audit(entry); !noted) return busy(noted.error());
  registry_.on_issued(id, *certificate);
  log_.info("{} {} joined by token {} {}", to_string(ask.role), ask.name, ask.token_id, way(from));
  return Yes{*joined, {*certificate, authority->certificate()}};
}

std::optional<JoinDesk::No> JoinDesk::against(const store::JoinToken& token,
                                              const node::JoinAsk& ask) {
  if (token.revoked)
    return No{JoinReason::revoked,
              fmt::format("the token {} was revoked at {}", token.id, to_rfc3339(*token.revoked))};
  if (token.expires <= clock_.wall())
    return No{JoinReason::expired,
              fmt::format("the token {} expired at {}", token.id, to_rfc3339(token.expires))};
  const auto generation = store_.generation();
  if (!generation) return No{JoinReason::busy, generation.error().message, kBusyRetry};
  if (token.generation != *generation)
    return No{JoinReason::expired,
              fmt::format("the token {} was made before the store of the management server was "
                          "set back; make a new one",
                          token.id)};
  if (token.role != static_cast<store::Role>(ask.role))
    return No{JoinReason::wrong_role,
              fmt::format("the token {} is for a {}, this is a {}", token.id,
                          to_string(static_cast<node::Role>(token.role)), to_string(ask.role))};
  const auto name = normal_fqdn(ask.name);
  if (!name || *name != ask.name || !api::matches_pattern(token.name_pattern, ask.name))
    return No{JoinReason::wrong_name, fmt::format("the token {} is for names like {}, not for {}",
                                                  token.id, token.name_pattern, ask.name)};
  return std::nullopt;
}

void JoinDesk::note_refusal(const node::JoinAsk& ask, const From& from, const No& no) {
  log_.warning("{} {} does not join ({}): {}", ask.name, way(from), to_string(no.reason), no.words);
  if (noted_.take(ask.token_id, clock_.now()) != Duration::zero()) return;
  const store::AuditEntry entry{clock_.wall(), "token " + ask.token_id, "joining refused", ask.name,
                                fmt::format("{}: {}; identity {}, {}", to_string(no.reason),
                                            no.words, ask.identity.node_id().hex(), way(from))};
  if (auto noted = store_.audit(entry); !noted)
    log_.warning("not in the audit list: {}", noted.error().message);
}

}  // namespace postern
