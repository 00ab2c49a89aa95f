#include <algorithm>
#include <string_view>

#include "base/utf8.h"
#include "doctor/own.h"

namespace postern::doctor {
namespace {

using Trouble = PeerProbe::Trouble;

// Of each parent, in this order; findings of its certificate have "parent_certificate." in front.
constexpr std::string_view kSteps[] = {
    "parent_resolution",         "connect", "interception", "tls",   "parent_certificate",
    "own_certificate_at_parent", "clock",   "approval",     "group", "version"};

constexpr std::uint32_t kRefusalCodesEnd = 64;  // no reason has a higher code
constexpr Duration kNameWaitMax = std::chrono::seconds(5);

/// Which of our steps a refusal is about.
const char* step_for(wire::Refusal reason) {
  switch (reason) {
    case wire::Refusal::no_certificate:
    case wire::Refusal::unknown_ca:
    case wire::Refusal::expired:
    case wire::Refusal::not_yet_valid:
    case wire::Refusal::wrong_name:
    case wire::Refusal::wrong_usage:
    case wire::Refusal::bad_certificate:
    case wire::Refusal::issuer_expired:
    case wire::Refusal::issuer_not_yet_valid:
    case wire::Refusal::bad_chain:
    case wire::Refusal::weak_key:
    case wire::Refusal::weak_signature:
    case wire::Refusal::not_an_end_entity:
    case wire::Refusal::malformed:
      return "own_certificate_at_parent";
    case wire::Refusal::wrong_group:
      return "group";
    case wire::Refusal::version:
      return "version";
    default:
      return "approval";
  }
}

bool about_time(wire::Refusal reason) {
  return reason == wire::Refusal::expired || reason == wire::Refusal::not_yet_valid ||
         reason == wire::Refusal::issuer_expired || reason == wire::Refusal::issuer_not_yet_valid;
}

/// The reason that a node's own words end with: "... (pending_approval)".
std::optional<wire::Refusal> reason_in(std::string_view words) {
  std::optional<wire::Refusal> found;
  std::size_t last = 0;
  for (std::uint32_t code = 1; code < kRefusalCodesEnd; ++code) {
    const wire::Refusal reason = wire::refusal_of_code(code);
    const std::size_t at = words.rfind(fmt::format("({})", wire::to_string(reason)));
    if (at == std::string_view::npos || at < last) continue;
    last = at;
    found = reason;
  }
  return found;
}

/// One parent under examination.
class Examination {
 public:
  Examination(Outside& outside, const Clock& clock, const Own& own, const ParentSetting& parent,
              Duration timeout, std::vector<Step>& steps)
      : outside_(outside),
        clock_(clock),
        own_(own),
        parent_(parent),
        timeout_(timeout),
        steps_(steps),
        first_(steps.size()),
        place_(own.place) {
    place_.parent = parent.name;
    place_.where = to_string(parent.dial);
  }

  void run() {
    if (resolve() && make_context()) {
      connect();
      if (connected()) {
        look_at_transport();
        if (probe_.shaken) look_at_certificates();
        look_at_clock();
        look_at_membership();
      }
    }
    name_what_was_not_reached();
  }

 private:
  void add(std::string_view id, Verdict verdict, std::string reason, std::string words,
           std::string fix = "") {
    steps_.push_back({std::string(id), parent_.name, verdict, std::move(reason), to_utf8(words),
                      std::move(fix)});
  }
  void pass(std::string_view id, std::string words) {
    add(id, Verdict::passed, "ok", std::move(words));
  }
  void failed(std::string_view id, const std::string& reason, std::string words) {
    add(id, Verdict::failed, reason, std::move(words), remedy(reason, place_));
  }
  void not_reached(std::string_view id, std::string words) {
    add(id, Verdict::not_reached, "not_reached", std::move(words));
  }
  bool has(std::string_view id) const {
    return std::any_of(steps_.begin() + static_cast<std::ptrdiff_t>(first_), steps_.end(),
                       [&](const Step& step) {
                         return step.id == id || step.id.starts_with(std::string(id) + ".");
                       });
  }

  bool resolve() {
    const auto found = outside_.addresses_of(parent_.dial.host, std::min(timeout_, kNameWaitMax));
    if (!found) {
      failed("parent_resolution", "not_resolved",
             fmt::format("the name of the parent is not found: {}", found.error().message));
      return false;
    }
    addresses_ = *found;
    const bool given = addresses_.size() == 1 && addresses_.front() == parent_.dial.host;
    pass("parent_resolution",
         given ? fmt::format("is not needed: {} is dialled at {}", parent_.name,
                             to_string(parent_.dial))
               : fmt::format("{} is {}", parent_.dial.host, fmt::join(addresses_, ", ")));
    return true;
  }

  /// As a node makes its own. A credential that TLS cannot use was found to be wrong already.
  bool make_context() {
    const auto options = [this] {
      TlsContext::Options made;
      made.now = [&clock = clock_] { return clock.wall(); };
      return made;
    };
    auto made = TlsContext::create(own_.credential, own_.anchors, options());
    shows_certificate_ = made && own_.credential;
    if (!made) made = TlsContext::create(std::nullopt, own_.anchors, options());
    if (!made) {
      failed("connect", "tls_failed", made.error().message);
      return false;
    }
    context_ = *made;
    return true;
  }

  void connect() {
    ProbeRequest request;
    request.port = parent_.dial.port;
    request.name = parent_.name;
    request.tls = context_;
    request.timeout = timeout_;
    request.answer_timeout = answer_timeout();
    if (shows_certificate_ && own_.self)
      request.first_words = [this](const ChannelPeer& peer) { return hello(peer); };
    for (const std::string& address : addresses_) {
      request.address = address;
      probe_ = outside_.probe(request);
      ended_at_ = clock_.wall();
      if (connected()) break;
    }
    if (!probe_.where.empty()) place_.where = probe_.where;
    if (connected()) {
      pass("connect", fmt::format("{} takes the connection", probe_.where));
      return;
    }
    const std::string several =
        addresses_.size() > 1 ? fmt::format(" (the last of {} addresses)", addresses_.size()) : "";
    switch (probe_.trouble) {
      case Trouble::refused:
        return failed("connect", "connection_refused",
                      fmt::format("{} at {}{} refuses the connection: nothing listens there, or a "
                                  "firewall rejects it",
                                  parent_.name, probe_.where, several));
      case Trouble::timed_out:
        return failed("connect", "connect_timed_out",
                      fmt::format("{} at {}{} does not answer within {:.0f} s: a firewall drops "
                                  "the connection, or the machine is off",
                                  parent_.name, probe_.where, several,
                                  std::chrono::duration<double>(timeout_).count()));
      case Trouble::unreachable:
        return failed("connect", "unreachable",
                      fmt::format("there is no way to {} at {}{}: {}", parent_.name, probe_.where,
                                  several, probe_.words));
      default:
        return failed("connect", "connect_failed",
                      fmt::format("connecting to {} at {}{}: {}", parent_.name, probe_.where,
                                  several, probe_.words));
    }
  }

  /// Shorter, and a parent that asks its own would be cut off before its word.
  Duration answer_timeout() const { return std::max(timeout_, ProbeRequest{}.answer_timeout); }

  bool connected() const {
    return probe_.trouble != Trouble::refused && probe_.trouble != Trouble::timed_out &&
           probe_.trouble != Trouble::unreachable && probe_.trouble != Trouble::failed;
  }

  std::optional<wire::Message> hello(const ChannelPeer& peer) {
    said_hello_ = true;
    auto hello = own_.self->hello(peer.own_tls_key, peer.exporter, clock_.wall());
    if (own_.approval) *hello.mutable_approval() = *own_.approval;
    return node::message_of(wire::Type::hello, hello);
  }

  void look_at_transport() {
    const std::string& where = probe_.where;
    switch (probe_.trouble) {
      case Trouble::http:
        return failed("interception", "http_answer",
                      fmt::format("what answers at {} speaks plain HTTP: a proxy or another "
                                  "program, not {}",
                                  where, parent_.name));
      case Trouble::not_tls:
        return failed(
            "interception", "not_tls",
            fmt::format("what answers at {} does not speak TLS: it is another program", where));
      case Trouble::no_protocol:
        if (!probe_.finding || probe_.finding->reason != Reason::unknown_ca) {
          failed("interception", "no_protocol",
                 fmt::format("what answers at {} speaks TLS and not {}: it is another program, or "
                             "a proxy that inspects TLS",
                             where, kAlpnChannel));
          break;
        }
        [[fallthrough]];
      case Trouble::none:
        if (!own_.anchors.certificates().empty() && probe_.finding &&
            probe_.finding->reason == Reason::unknown_ca) {
          add("interception", Verdict::failed, to_string(Reason::unknown_ca),
              fmt::format("what answers at {} shows a certificate that is not of this group, so a "
                          "proxy inspects TLS, or {} has one of another CA: it {}",
                          where, parent_.name, probe_.finding->words),
              remedy_for_parents_certificate(to_string(Reason::unknown_ca), place_));
        } else if (own_.anchors.certificates().empty()) {
          not_reached("interception", "this machine has no anchors to tell the group by");
        } else {
          pass("interception",
               fmt::format("a certificate of the group answers, and {} was agreed on",
                           kAlpnChannel));
        }
        break;
      case Trouble::silent:
        not_reached("interception", "the TLS handshake did not end");
        return failed("tls", "tls_timed_out",
                      fmt::format("{} takes the connection and then says nothing: it hangs, or "
                                  "something in between swallows TLS",
                                  where));
      case Trouble::hung_up:
        not_reached("interception", "the TLS handshake did not end");
        return failed(
            "tls", "hung_up",
            fmt::format("{} ends the connection within the TLS handshake ({}): a firewall "
                        "that inspects it, or a node that has no room",
                        where, probe_.words));
      case Trouble::tls_version:
        not_reached("interception", "the TLS handshake failed");
        return failed(
            "tls", "tls_version",
            fmt::format("what answers at {} does not speak TLS 1.3: a proxy that inspects "
                        "TLS, or another program",
                        where));
      default:
        not_reached("interception", "the TLS handshake failed");
        return failed("tls", "tls_failed",
                      fmt::format("the TLS handshake with {} failed: {}", where, probe_.words));
    }
    if (probe_.shaken) pass("tls", "TLS 1.3");
  }

  void look_at_certificates() {
    const auto& chain = probe_.peer.chain;
    if (!chain.empty()) {
      CheckOptions options;
      options.now = clock_.wall();
      options.name = parent_.name;
      options.as_client = false;
      for (const Finding& finding :
           check_certificate(chain.front(), std::span(chain).subspan(1), own_.anchors, options)) {
        Step step = step_of(finding, "parent_certificate",
                            fmt::format("the certificate of {}", parent_.name));
        step.parent = parent_.name;
        if (!finding.passed) step.fix = remedy_for_parents_certificate(step.reason, place_);
        steps_.push_back(std::move(step));
      }
    } else if (probe_.finding) {
      const Finding& finding = *probe_.finding;
      add("parent_certificate." + finding.requirement, Verdict::failed, to_string(finding.reason),
          fmt::format("the certificate of {}: {}", parent_.name, finding.words),
          remedy_for_parents_certificate(to_string(finding.reason), place_));
    }
    if (probe_.trouble != Trouble::none) return;
    if (!shows_certificate_)
      return not_reached("own_certificate_at_parent", "this machine has none that it could show");
    if (probe_.refused && step_for(probe_.refused->reason) == kOwnAtParent) return refused();
    if (!probe_.ended.empty() && !probe_.answer && !probe_.refused)
      return failed(
          "own_certificate_at_parent", "hung_up",
          fmt::format("{} ended the connection without a word: {}", parent_.name, probe_.ended));
    // A name is held against the hello, which the program has said already (W5).
    if (const auto said = said_to_program(); said && step_for(*said) == kOwnAtParent)
      return refused_at(*said, "the running program says: " + own_.program.words);
    pass("own_certificate_at_parent", fmt::format("{} does not object to it", parent_.name));
  }

  /// The parent's word against this node, at the step that it is about.
  void refused() {
    const RefusalNotice& notice = *probe_.refused;
    refused_at(notice.reason,
               fmt::format(
                   "{} refuses this node: {}{}", parent_.name, notice.words,
                   about_time(notice.reason) ? "; its clock says " + to_rfc3339(notice.time) : ""));
  }
  void refused_at(wire::Refusal code, std::string words) {
    const std::string id = step_for(code), reason = wire::to_string(code);
    if (has(id)) return;
    add(id, Verdict::failed, reason, std::move(words),
        id == kOwnAtParent ? remedy_for_own_certificate(reason, place_) : remedy(reason, place_));
  }

  void look_at_clock() {
    std::optional<WallTime> theirs;
    WallTime ours = ended_at_;
    if (probe_.refused && probe_.refused->time != WallTime{}) theirs = probe_.refused->time;
    if (wire::pb::Welcome welcome; read(welcome)) theirs = wall_from_ms(welcome.time_ms());
    if (!theirs && probe_.shaken && !probe_.finding) {
      theirs =
          outside_.clock_of(parent_.name, address(), parent_.dial.port, own_.anchors, timeout_);
      ours = clock_.wall();
    }
    if (!theirs) return;
    const auto ahead = std::chrono::round<std::chrono::seconds>(*theirs - ours);
    const auto seconds = std::chrono::abs(ahead).count();
    const std::string words =
        seconds == 0 ? fmt::format("{} and this machine agree to the second", parent_.name)
                     : fmt::format("the clock of {} is {} s {} this machine's", parent_.name,
                                   seconds, ahead.count() > 0 ? "ahead of" : "behind");
    if (std::chrono::abs(ahead) <= kClockOffMax)
      pass("clock", words);
    else
      add("clock", Verdict::warning, "clock_off", words, remedy("clock_off", place_));
  }
  std::string address() const {
    for (const std::string& each : addresses_)
      if (probe_.where.find(each) != std::string::npos) return each;
    return parent_.dial.host;
  }

  bool read(wire::pb::Welcome& welcome) const {
    return probe_.answer && probe_.answer->type == wire::Type::welcome &&
           welcome.ParseFromArray(probe_.answer->bytes().data(),
                                  static_cast<int>(probe_.answer->bytes().size()));
  }

  void look_at_membership() {
    if (probe_.trouble != Trouble::none) return;
    if (own_.program.state == Program::State::running) return ask_program();
    if (!said_hello_) {
      why_not_ = own_.why_no_hello.empty() ? "it was not asked for it" : own_.why_no_hello;
      return;
    }
    wire::pb::Welcome welcome;
    if (probe_.refused) return refused();
    if (!read(welcome)) {
      const std::string why =
          probe_.answer ? "its answer to hello cannot be read"
          : probe_.ended.empty()
              ? fmt::format("it did not answer hello within {:.0f} s",
                            std::chrono::duration<double>(answer_timeout()).count())
              : probe_.ended;
      return failed("approval", "protocol", fmt::format("{}: {}", parent_.name, why));
    }
    const auto neighbour = node::verify_welcome(welcome, probe_.peer.chain.front().mark(),
                                                probe_.peer.exporter, *own_.self);
    if (!neighbour)
      return refused_at(
          neighbour.error().reason,
          fmt::format("this node refuses {}: {}", parent_.name, neighbour.error().words));
    for (const auto& hop : welcome.path())
      if (node::node_id_of_field(hop.node_id()) == own_.self->id)
        return refused_at(wire::Refusal::loop,
                          fmt::format("the path of {} leads through this node", parent_.name));
    std::string path;
    for (const auto& hop : welcome.path()) path += (path.empty() ? "" : " > ") + hop.name();
    pass("approval", fmt::format("{} takes this node as its {}; way: {}", parent_.name,
                                 own_.place.role, path.empty() ? "not known yet" : path));
    pass("group", welcome.group());
    pass("version", fmt::format("{} of the channel, {}", welcome.version(), welcome.software()));
  }

  /// What this parent has told the running program.
  std::optional<wire::Refusal> said_to_program() const {
    const Program& program = own_.program;
    const bool of_this =
        program.words.find(parent_.name + " refuses this node") != std::string::npos;
    if (program.state != Program::State::running || program.ready || !of_this) return std::nullopt;
    return reason_in(program.words);
  }

  /// The program holds the connection; what it was told counts.
  void ask_program() {
    const Program& program = own_.program;
    if (program.ready) {
      pass("approval", "the running program is attached to a parent");
      pass("group", "as the parent says");
      pass("version", "as the parent says");
      return;
    }
    if (const auto reason = said_to_program())
      refused_at(*reason, "the running program says: " + program.words);
    why_not_ = "the running program says: " + program.words;
  }

  void name_what_was_not_reached() {
    for (const std::string_view id : kSteps)
      if (!has(id)) not_reached(id, why_not_.empty() ? "something before it is wrong" : why_not_);
  }

  static constexpr std::string_view kOwnAtParent = "own_certificate_at_parent";

  Outside& outside_;
  const Clock& clock_;
  const Own& own_;
  const ParentSetting& parent_;
  const Duration timeout_;
  std::vector<Step>& steps_;
  const std::size_t first_;  // of ours among them
  Place place_;
  std::vector<std::string> addresses_;
  std::shared_ptr<const TlsContext> context_;
  bool shows_certificate_ = false;
  bool said_hello_ = false;
  PeerProbe probe_;
  WallTime ended_at_{};
  std::string why_not_;
};

}  // namespace

Step step_of(const Finding& finding, const std::string& id, const std::string& subject) {
  std::string requirement = finding.requirement;
  std::replace(requirement.begin(), requirement.end(), ' ', '_');
  // These say themselves which file they are about.
  const bool of_file =
      requirement == "private_key" || requirement == "key_permissions" || requirement == "form";
  const WordsAndFix split = without_command(finding.words);
  return {id + "." + requirement,
          "",
          finding.passed ? Verdict::passed : Verdict::failed,
          to_string(finding.reason),
          to_utf8(of_file ? split.words : subject + " " + split.words),
          split.fix};
}

void examine_parent(Outside& outside, const Clock& clock, const Own& own,
                    const ParentSetting& parent, Duration timeout, std::vector<Step>& steps) {
  Examination(outside, clock, own, parent, timeout, steps).run();
}

}  // namespace postern::doctor
