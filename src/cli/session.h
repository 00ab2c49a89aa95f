#pragma once

#include <boost/json.hpp>
#include <expected>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/options.h"
#include "cli/world.h"

/// What the verbs share. Not for other folders.
namespace postern::cli {

/// One command under way.
struct Session {
  World& world;
  const Options& options;
  std::optional<Client> client;  // empty only for verbs that ask no server
};

using Answered = std::expected<boost::json::value, Failure>;

/// Says what went wrong, with the verb in front; the exit status is kExitFailed.
int say_failure(Session& session, const std::string& message);

/// Prints a successful answer as --output wants it, as a table with the help of `table`.
int print(Session& session, const Answered& answer,
          std::string (*table)(Session&, const boost::json::value&));

/// Prints it once, or again and again with --watch: on a terminal over the last one, elsewhere
/// behind it after an empty line ("---" in YAML). A failure is shown in its place and does not end
/// it.
int draw(Session& session, const std::string& target,
         std::string (*table)(Session&, const boost::json::value&));

// Reading answers leniently: what is missing or of another kind is "" or nothing.
std::string text_of(const boost::json::value& object, std::string_view member);
bool flag_of(const boost::json::value& object, std::string_view member);
std::optional<std::int64_t> count_of(const boost::json::value& object, std::string_view member);
std::vector<std::string> texts_of(const boost::json::value& object, std::string_view member);
const boost::json::array& list_of(const boost::json::value& object, std::string_view member);
std::string joined(const std::vector<std::string>& list);  // "a, b"; "-" when empty
std::string or_dash(std::string text);
std::string when(Session& session, const boost::json::value& object, std::string_view member);
std::string health_text(const boost::json::value& node);  // "unknown via gw1.dmz.example"
std::string lifetime_left(Session& session, const boost::json::value& object);

/// Whom this machine believes already: by the group's file, else by a role that is set up here.
Result<Anchors> anchors_here(Session& session);  // verify.cc

using Verb = int (*)(Session&);

// nodes.cc
int approve_gateway(Session& session);
int approve_agent(Session& session);
int remove_gateway(Session& session);
int remove_agent(Session& session);
int show_gateway(Session& session);
int show_agent(Session& session);
int list_pending(Session& session);
int approve_pending(Session& session);
int reject_pending(Session& session);
// views.cc
int list_gateways(Session& session);
int list_agents(Session& session);
int show_inventory(Session& session);
int show_topology(Session& session);
int list_servers(Session& session);
int show_server(Session& session);
int export_group(Session& session);
int show_group(Session& session);
// ledger.cc
int list_losses(Session& session);
int list_alerts(Session& session);
int show_alert(Session& session);
int close_alert(Session& session);
// trace.cc
int trace_node(Session& session);
// certificates.cc
int request_certificate(Session& session);
int sign_certificate(Session& session);
int list_certificates(Session& session);  // fleet.cc
int revoke_certificate(Session& session);
int renew_certificate(Session& session);
int import_certificate(Session& session);
int show_certificate(Session& session);
int verify_certificate(Session& session);  // verify.cc
// authority.cc
int show_authority(Session& session);
int roll_authority(Session& session);
int switch_authority(Session& session);
int finish_authority(Session& session);
// tokens.cc
int create_join_token(Session& session);
int list_join_tokens(Session& session);
int revoke_join_token(Session& session);
int create_token(Session& session);
int list_tokens(Session& session);
int revoke_token(Session& session);
// spool.cc
int list_spool(Session& session);
int verify_spool(Session& session);
int export_spool(Session& session);

// doctor.cc
int examine_machine(Session& session);
// names.cc
int complete_names(Session& session);

}  // namespace postern::cli
