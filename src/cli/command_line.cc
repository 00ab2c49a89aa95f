// The only file here that includes CLI11, which takes seconds to compile.
#include <CLI/CLI.hpp>
#include <limits>
#include <sstream>

#include "cli/options.h"
#include "cli/world.h"
#include "command/tree.h"

namespace postern::cli {
namespace {

constexpr const char* kRoles = "agent|gateway|server";

/// Adds a verb below `group`; its name in Options is "GROUP VERB".
CLI::App* add_verb(CLI::App& group, Options& options, const std::string& name,
                   const std::string& what, const std::string& example) {
  CLI::App* verb = group.add_subcommand(name, what);
  verb->fallthrough();
  verb->footer("Example:\n  " + example);
  const std::string full = group.get_parent() == nullptr ? name : group.get_name() + " " + name;
  verb->callback([&options, full] { options.verb = full; });
  return verb;
}

CLI::App* add_group(CLI::App& app, const std::string& name, const std::string& what) {
  CLI::App* group = app.add_subcommand(name, what);
  group->require_subcommand(1);
  group->fallthrough();
  group->footer("Every verb explains itself with --help.");
  return group;
}

void add_name(CLI::App* verb, Options& options, const char* what) {
  verb->add_option("NAME", options.name, what)->type_name("")->required();
}

void add_role(CLI::App* verb, Options& options, const char* what) {
  verb->add_option("--role", options.role, what)
      ->type_name(kRoles)
      ->check(CLI::IsMember({"agent", "gateway", "server"}).description(""));
}

void add_watch(CLI::App* verb, Options& options) {
  verb->add_option("--watch", options.watch_seconds,
                   "print it again every so many seconds, default 2, until Ctrl-C")
      ->type_name("SECONDS")
      ->expected(0, 1)
      ->default_str("2")
      ->check(CLI::Range(1u, 3600u).description(""));
}

CLI::App* add_watched(CLI::App& group, Options& options, const std::string& name,
                      const std::string& what, const std::string& example) {
  CLI::App* verb = add_verb(group, options, name, what, example);
  add_watch(verb, options);
  return verb;
}

void add_gateway_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "gateway", "gateways: approve, remove, list, show");
  CLI::App* approve =
      add_verb(*group, options, "approve", "let a gateway take part in the management group",
               "postern gateway approve gw1.dmz.example --parent ms1.home.example");
  add_name(approve, options, "the gateway's FQDN");
  approve
      ->add_option("--parent", options.parents,
                   "the management server or approved gateway that it reports to")
      ->type_name("FQDN")
      ->required()
      ->expected(1);
  approve->add_option("--failover", options.failover, "further parents, in order of preference")
      ->type_name("FQDN,FQDN")
      ->delimiter(',');
  approve->add_flag("--parent-initiates", options.parent_initiates,
                    "the parent opens the connection (refused by this version)");
  add_name(add_verb(*group, options, "remove",
                    "end a gateway's connections and take it out of the group",
                    "postern gateway remove gw1.dmz.example"),
           options, "the gateway's FQDN or node id");
  add_watched(*group, options, "list", "all gateways", "postern gateway list");
  add_name(add_watched(*group, options, "show", "one gateway, its streams and newest values",
                       "postern --output json gateway show gw1.dmz.example"),
           options, "the gateway's FQDN or node id");
}

void add_agent_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "agent", "agents: approve, remove, list, show");
  CLI::App* approve =
      add_verb(*group, options, "approve", "let an agent take part in the management group",
               "postern agent approve web1.dmz.example --parent gw1.dmz.example");
  add_name(approve, options, "the agent's FQDN");
  approve->add_option("--parent", options.parents, "the only parents it may use; default: any")
      ->type_name("FQDN,FQDN")
      ->delimiter(',');
  add_name(
      add_verb(*group, options, "remove", "end an agent's connections and take it out of the group",
               "postern agent remove web1.dmz.example"),
      options, "the agent's FQDN or node id");
  add_watched(*group, options, "list", "all agents", "postern agent list");
  add_name(add_watched(*group, options, "show", "one agent, its streams and newest values",
                       "postern --output json agent show web1.dmz.example"),
           options, "the agent's FQDN or node id");
}

void add_pending_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "pending", "nodes that wait for an administrator's word");
  add_watched(*group, options, "list", "who knocked, over whom, and why it waits",
              "postern pending list");
  add_name(add_verb(*group, options, "approve", "let it take part, in the role it asked for",
                    "postern pending approve web1.dmz.example"),
           options, "its FQDN, or its node id when several wait under one name");
  add_name(
      add_verb(*group, options, "reject", "refuse it", "postern pending reject web1.dmz.example"),
      options, "its FQDN, or its node id when several wait under one name");
}

void add_view_verbs(CLI::App& app, Options& options) {
  CLI::App* inventory =
      add_watched(app, options, "inventory", "the Discovered Inventory: every node of the group",
                  "postern inventory --role gateway");
  add_role(inventory, options, "only nodes of this role");
  add_watched(app, options, "topology", "who reports to whom, drawn as a tree",
              "postern topology --watch 5");
  CLI::App* server = add_group(app, "server", "the management servers of the group");
  add_watched(*server, options, "list", "all management servers", "postern server list");
  add_name(add_watched(*server, options, "show", "one management server",
                       "postern server show ms.home.example"),
           options, "the server's FQDN or node id");
}

void add_loss_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "loss", "the loss ledger: what did not arrive, and why");
  CLI::App* list = add_watched(
      *group, options, "list",
      "what was lost, whose, when, how much and why, and what is still being looked for",
      "postern loss list --node web1.dmz.example --since 2h");
  list->add_option("--node", options.node, "only of this node; default: of all")->type_name("FQDN");
  list->add_option("--since", options.since,
                   "only what was noted since then (2026-01-31T08:15:00Z), or within this time "
                   "(30m, 2h, 7d); default: all that is kept")
      ->type_name("TIME");
}

void add_alert_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "alert", "conditions that somebody should look at");
  CLI::App* list = add_watched(*group, options, "list", "the alerts that are open, newest first",
                               "postern alert list");
  list->add_flag("--all", options.all, "also those that are closed");
  const auto add_id = [&](CLI::App* verb) {
    verb->add_option("ID", options.id, "the number in the list")
        ->type_name("")
        ->required()
        ->check(
            CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()).description(""));
  };
  add_id(
      add_watched(*group, options, "show", "one alert with all it says", "postern alert show 17"));
  add_id(add_verb(*group, options, "close",
                  "take it off the list; it comes back when its cause comes back",
                  "postern alert close 17"));
}

void add_trace_verb(CLI::App& app, Options& options) {
  CLI::App* trace =
      add_verb(app, options, "trace",
               "have a node send a probe, and print each hop that it passed with its wait",
               "postern trace web1.dmz.example --timeout 1m");
  add_name(trace, options, "the node's FQDN or node id");
  trace->add_option("--timeout", options.timeout, "how long to wait for it; default 30s")
      ->type_name("DURATION");
}

void add_doctor_verb(CLI::App& app, Options& options) {
  CLI::App* verb = add_verb(
      app, options, "doctor",
      "look at everything between this machine and its parents, and say the first thing that is "
      "wrong and how to mend it; exit status 1 when there is one",
      "postern doctor --to gw1.dmz.example:5723");
  verb->add_option(
          "--to", options.to,
          "only this parent, by the name in its certificate; with =ADDRESS where its name is "
          "not the way there; default: every parent of the configuration")
      ->type_name("NAME[=ADDRESS][:PORT]");
  add_role(verb, options, "only this role; default: every role of this machine");
  verb->add_option("--config", options.config,
                   "the role's configuration file; default /etc/postern/ROLE.yaml")
      ->type_name("FILE");
  verb->add_option("--state", options.state,
                   "the role's state folder; default: as its configuration says")
      ->type_name("DIR");
  verb->add_option("--timeout", options.wait,
                   "how long to wait for each name, connection and answer; default 10s")
      ->type_name("DURATION");
}

CLI::Option* add_password(CLI::App* verb, Options& options) {
  return verb
      ->add_option("--password-file", options.password_file,
                   "file of mode 0600 with the password of the PKCS#12 file, in one line")
      ->type_name("FILE");
}

void add_verify_verb(CLI::App& group, Options& options) {
  CLI::App* verify = add_verb(
      group, options, "verify",
      "hold a certificate against every requirement of a handshake, and say what to do about each "
      "that it fails; exit status 1 when there is one",
      "postern cert verify --name gw1.dmz.example --key gw1.dmz.example.key gw1.dmz.example.pem");
  verify
      ->add_option(
          "FILE", options.files,
          "the certificate, then its intermediates; PEM, DER or PKCS#12, in one or several "
          "files")
      ->type_name("");
  verify->add_option("--name", options.name, "the node's FQDN; default: the first that it has")
      ->type_name("FQDN");
  verify->add_option("--key", options.key_file, "the private key, when it is in none of the files")
      ->type_name("FILE");
  add_password(verify, options);
  verify
      ->add_option(
          "--anchors", options.anchors_file,
          "whom to believe: CA certificates or a group file; default: the group file, else "
          "what a role of this machine believes")
      ->type_name("FILE");
  verify
      ->add_option("--peer", options.peer,
                   "besides, shake hands with this node, showing the certificate, and print how "
                   "either side sees the other")
      ->type_name("NAME[=ADDRESS][:PORT]");
  verify
      ->add_option("--timeout", options.wait,
                   "with --peer: how long to wait for each answer; default 10s")
      ->type_name("DURATION");
  add_role(verify, options, "what the node is; an agent's certificate needs no serverAuth");
  verify
      ->add_option("--state", options.state,
                   "believe what the role in this folder believes; without FILE, look at what it "
                   "uses")
      ->type_name("DIR");
}

void add_authority_verbs(CLI::App& app, Options& options) {
  CLI::App* group =
      add_group(app, "ca", "the group's certificate authority: show, and change it for the next");
  add_watched(*group, options, "show", "whom the group trusts, and how far a change has come",
              "postern ca show --watch");
  add_verb(*group, options, "roll",
           "make the next CA and let every node trust it; the one before still signs",
           "postern ca roll");
  const auto add_step = [&](const char* name, const char* what, const char* example,
                            const char* behind) {
    add_verb(*group, options, name, what, example)
        ->add_flag("--leave-behind", options.leave_behind, behind);
  };
  add_step("switch", "let the next CA sign; every node renews its certificate by it",
           "postern ca switch", "also while nodes do not trust it yet");
  add_step("finish", "end the trust in the former CA", "postern ca finish",
           "also while nodes use certificates of it");
}

void add_certificate_verbs(CLI::App& app, Options& options) {
  CLI::App* group =
      add_group(app, "cert", "certificates: request, sign, verify, list, import, show, revoke");
  CLI::App* request = add_verb(*group, options, "request",
                               "make a private key and a signing request for this machine",
                               "postern cert request --name gw1.dmz.example");
  request->add_option("--name", options.name, "the node's FQDN")->type_name("FQDN")->required();
  request->add_option("--key", options.key_kind, "kind of key; default ec")
      ->type_name("ec|rsa|ed25519")
      ->check(CLI::IsMember({"ec", "rsa", "ed25519"}).description(""));
  request->add_option("--san", options.alternative_names, "a further name; may be repeated")
      ->type_name("FQDN");
  request
      ->add_option("--out", options.folder,
                   "where both files go; default /etc/postern/certificates")
      ->type_name("DIR");

  CLI::App* sign =
      add_verb(*group, options, "sign", "have the group's certificate authority sign a request",
               "postern cert sign gw1.dmz.example.csr --out gw1.dmz.example.pem");
  sign->add_option("CSR", options.file, "the request's file (PEM)")->type_name("")->required();
  sign->add_option("--out", options.out_file, "where the chain goes; default: standard output")
      ->type_name("FILE");
  sign->add_option("--days", options.days, "days of validity; default: the server's")
      ->type_name("N")
      ->check(CLI::Range(1u, 3650u).description(""));

  add_name(add_verb(*group, options, "renew",
                    "let a node renew a certificate that has ended, for a day; those that have not "
                    "are renewed by themselves",
                    "postern cert renew gw1.dmz.example"),
           options, "the node's FQDN or node id");
  add_watched(*group, options, "list", "every node's certificate, whose ends next first",
              "postern cert list");
  CLI::App* import = add_verb(
      *group, options, "import",
      "check a certificate against every requirement and install it for the roles of this machine",
      "postern cert import --subject-name gw1.dmz.example");
  import->add_option("--subject-name", options.name, "the name that the certificate is for")
      ->type_name("FQDN")
      ->required();
  import
      ->add_option("--store", options.store,
                   "folder with certificate, key and CA files in any mix; default "
                   "$POSTERN_CERT_STORE, else /etc/postern/certificates")
      ->type_name("DIR");
  import
      ->add_option("--pkcs12", options.pkcs12,
                   "take it from this PKCS#12 file (.p12, .pfx); the folder gives the group file")
      ->type_name("FILE");
  add_password(import, options)->needs("--pkcs12");
  add_role(import, options, "only this role; default: every role of that name on this machine");
  import->add_option("--state", options.state, "only the role with this state folder")
      ->type_name("DIR")
      ->excludes("--role");

  add_verify_verb(*group, options);

  CLI::App* revoke =
      add_verb(*group, options, "revoke",
               "end every connection that shows a certificate; nothing new with it, on any hop",
               "postern cert revoke gw1.dmz.example --reason compromised");
  revoke
      ->add_option("NAME|SERIAL", options.name,
                   "the node, for the certificate that it uses now; or a serial number (hex)")
      ->type_name("")
      ->required();
  revoke->add_option("--reason", options.reason, "why; default superseded")
      ->type_name("compromised|superseded|retired")
      ->check(CLI::IsMember({"compromised", "superseded", "retired"}).description(""));

  CLI::App* show = add_verb(*group, options, "show", "what stands in a certificate",
                            "postern cert show gw1.dmz.example.pem");
  auto* file = show->add_option("FILE", options.file, "certificates in PEM")->type_name("");
  show->add_option("--state", options.state, "the certificate that the role in this folder uses")
      ->type_name("DIR")
      ->excludes(file);
}

void add_group_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "group", "the management group itself");
  CLI::App* exported = add_verb(
      *group, options, "export",
      "write the file that new nodes need: name, addresses, trusted CAs and root key (no secrets)",
      "postern group export corp.group.yaml");
  exported->add_option("FILE", options.file, "where it goes; - is standard output")
      ->type_name("")
      ->required();
  add_watched(*group, options, "show", "name, servers and fingerprints", "postern group show");
}

void add_join_token_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "token", "tokens by which new machines join the group");
  CLI::App* create = add_verb(*group, options, "create",
                              "make a token, a line for setup --token-file; it is shown this once",
                              "postern token create --role gateway --name 'gw*.dmz.example'");
  create->add_option("--role", options.role, "what the machines become")
      ->type_name("agent|gateway")
      ->check(CLI::IsMember({"agent", "gateway"}).description(""))
      ->required();
  create
      ->add_option("--name", options.name_pattern,
                   "which names may join, * for any characters; default: all")
      ->type_name("PATTERN");
  create->add_option("--uses", options.uses, "how many machines; default 1")
      ->type_name("N")
      ->check(CLI::Range(1u, 100'000u).description(""));
  create->add_option("--expires", options.expires, "how long it is good; default 24h")
      ->type_name("DURATION");
  create
      ->add_option("--parent", options.parents,
                   "the only parents that its nodes are approved for; default: any")
      ->type_name("FQDN,FQDN")
      ->delimiter(',');
  create
      ->add_option("--via", options.addresses,
                   "where the machines ask first: NAME[:PORT] or NAME=ADDRESS[:PORT] of a gateway "
                   "or management server; default: this management server")
      ->type_name("NAME,NAME")
      ->delimiter(',');
  create->add_flag("--pending", options.pending,
                   "its nodes wait for: postern pending approve; default: they are approved");
  create
      ->add_option("--out", options.out_file,
                   "a file that only you can read; default: standard output")
      ->type_name("FILE");
  add_watched(*group, options, "list", "all join tokens, newest first, without their secrets",
              "postern token list");
  CLI::App* revoke = add_verb(*group, options, "revoke", "let nobody join with it any more",
                              "postern token revoke 0011aabbccddeeff");
  revoke->add_option("ID", options.token_id, "the id in the list")->type_name("")->required();
}

void add_token_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "api-token", "who may ask the API over HTTPS, and what");
  CLI::App* create = add_verb(*group, options, "create", "make a token; it is shown this once",
                              "postern api-token create --role read-only --label grafana --out t");
  create->add_option("--role", options.scope, "what it may do")
      ->type_name("administrator|operator|read-only")
      ->check(CLI::IsMember({"administrator", "operator", "read-only"}).description(""))
      ->required();
  create->add_option("--label", options.label, "what it is for")->type_name("TEXT");
  create->add_option("--days", options.days, "its life; default: until it is revoked")
      ->type_name("N")
      ->check(CLI::Range(1u, 3650u).description(""));
  create
      ->add_option("--out", options.out_file,
                   "a file that only you can read; default: standard output")
      ->type_name("FILE");
  add_watched(*group, options, "list", "all tokens, newest first, without their secrets",
              "postern api-token list");
  CLI::App* revoke = add_verb(*group, options, "revoke", "end a token with its next request",
                              "postern api-token revoke 0011aabbccdd");
  revoke->add_option("ID", options.token_id, "the id in the list")->type_name("")->required();
}

void add_spool_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(
      app, "spool", "the batches that wait on this machine's disk; reads only, also while it runs");
  const auto add = [&](const char* name, const char* what, const char* example) {
    CLI::App* verb = add_verb(*group, options, name, what, example);
    verb->add_option("--state", options.state, "the role's state folder")
        ->type_name("DIR")
        ->required();
    return verb;
  };
  add("ls", "streams with their numbers, bytes and what is settled; files",
      "postern spool ls --state /var/lib/postern/gateway");
  add("verify", "read every byte and check it; exit status 1 when there is damage",
      "postern spool verify --state /var/lib/postern/gateway");
  add("export",
      "write all batches that can be read into one file (docs/formats/spool.md, \"Export\")",
      "postern spool export --state /var/lib/postern/gateway --to spool.batches")
      ->add_option("--to", options.out_file, "the file to make")
      ->type_name("FILE")
      ->required();
}

/// What needs no management server and belongs to the shell.
void add_shell_verbs(CLI::App& app, Options& options) {
  CLI::App* group = add_group(app, "completion", "completion of verbs, options and names by Tab");
  add_verb(*group, options, "bash", "the script for bash",
           "postern completion bash > ~/.local/share/bash-completion/completions/postern");
  add_verb(*group, options, "zsh", "the script for zsh",
           "postern completion zsh > ~/.zfunc/_postern");
  CLI::App* names = add_verb(app, options, "complete-names", "names for the script, one a line",
                             "postern complete-names gateway");
  names->group("");
  names->add_option("KIND", options.name)->type_name("")->required();
}

Format format_named(const std::string& name) {
  if (name == "json") return Format::json;
  return name == "yaml" ? Format::yaml : Format::table;
}

/// When there is no verb, or none that is known, CLI11 does not say which one was meant.
std::optional<std::string> verb_mistake(const CLI::App& app) {
  const CLI::App* group = &app;
  while (!group->get_subcommands().empty()) group = group->get_subcommands().front();
  const auto known = group->get_subcommands([](const CLI::App*) { return true; });
  if (known.empty()) return std::nullopt;
  std::string names;
  for (const CLI::App* verb : known)
    if (!verb->get_group().empty()) names += (names.empty() ? "" : ", ") + verb->get_name();
  const auto given = app.remaining(true);
  const std::string where = group == &app ? "" : group->get_name() + ": ";
  const std::string what =
      given.empty() ? "a verb is missing" : "'" + given.front() + "' is no verb";
  return where + what + "; known are: " + names + "\nRun with --help for more information.\n";
}

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& arguments) {
  CommandLine line;
  CLI::App app("postern: the operator's tool of a Postern management group", "postern");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("postern ") + command::version());
  app.footer("Example:\n  postern inventory\nEvery verb explains itself with --help.");
  std::string output = "table";
  app.add_option("--output", output, "how to print; default table")
      ->type_name("table|json|yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}).description(""));
  app.add_option("--server", line.options.server,
                 "where the management server listens; default $POSTERN_SERVER, else the local one")
      ->type_name("unix:PATH|https://NAME[:PORT]");
  app.add_option("--token-file", line.options.token_file,
                 "file with the API token for https; default $POSTERN_TOKEN_FILE")
      ->type_name("FILE");
  app.add_option("--group-file", line.options.group_file,
                 "what `postern group export` wrote, for https; default $POSTERN_GROUP_FILE, else "
                 "/etc/postern/group.postern")
      ->type_name("FILE");
  add_gateway_verbs(app, line.options);
  add_agent_verbs(app, line.options);
  add_pending_verbs(app, line.options);
  add_view_verbs(app, line.options);
  add_loss_verbs(app, line.options);
  add_alert_verbs(app, line.options);
  add_trace_verb(app, line.options);
  add_certificate_verbs(app, line.options);
  add_authority_verbs(app, line.options);
  add_group_verbs(app, line.options);
  add_join_token_verbs(app, line.options);
  add_token_verbs(app, line.options);
  add_spool_verbs(app, line.options);
  add_doctor_verb(app, line.options);
  add_shell_verbs(app, line.options);

  const auto script = [&](command::Shell shell) {
    line.exit = kExitDone;
    line.text = command::completion_script(command::describe(app), shell);
  };
  if (line.text = command::answer_hidden(app, arguments); !line.text.empty()) {
    line.exit = kExitDone;
    return line;
  }
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // wants it reversed
    if (line.options.verb == "cert show" && line.options.file.empty() && !line.options.state)
      throw CLI::RequiredError("FILE or --state");
    if (line.options.verb == "cert verify" && line.options.files.empty() && !line.options.state)
      throw CLI::RequiredError("FILE or --state");
    line.options.output = format_named(output);
    if (line.options.verb == "completion bash") script(command::Shell::bash);
    if (line.options.verb == "completion zsh") script(command::Shell::zsh);
  } catch (const CLI::ParseError& stopped) {
    std::ostringstream out, err;
    line.exit = app.exit(stopped, out, err) == 0 ? kExitDone : kExitUsage;
    line.text = out.str() + err.str();
    if (line.exit == kExitUsage) line.text = "postern: " + verb_mistake(app).value_or(line.text);
  }
  return line;
}

}  // namespace postern::cli
