// matrix-js-sdk (Rust crypto) driven by JSON lines: one command a line on stdin, one answer or event a line on stdout.
//
//   → {"id": 1, "do": "send", "room_id": "!…", "type": "m.room.message", "content": {…}}
//   ← {"id": 1, "ok": {"event_id": "$…"}}     or     {"id": 1, "refused": {"status": 403, "answer": {…}}}
//   ← {"event": "sync", "raw": {…}}           and what else happens, without being asked
//
// It ends when stdin does. tests/harness/js_person.py is its other half.

import readline from "node:readline";
import process from "node:process";

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
// The SDK logs to the console; stdout is ours.
for (const level of ["log", "info", "debug", "trace", "warn", "error"]) {
  console[level] = (...words) => process.env.JS_CLIENT_LOG && process.stderr.write(words.map(String).join(" ") + "\n");
}

const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
const { DecryptionFailureCode, AllDevicesIsolationMode, OnlySignedDevicesIsolationMode, decodeRecoveryKey } =
  await import("matrix-js-sdk/lib/crypto-api/index.js");
const wasm = await import("@matrix-org/matrix-sdk-crypto-wasm");
if (!process.env.JS_CLIENT_LOG) logger.setLevel("silent");

let client;
let account;
let verification = {};
let acceptsVerification = false;
let recoveryKey;
const syncs = [];
let keysUploaded;
const onKeysUploaded = new Promise((resolve) => (keysUploaded = resolve));

// Looks at what goes over the wire: sync answers as they come, and to whom to-device messages go.
async function watchedFetch(resource, options) {
  const path = new URL(resource).pathname;
  if (path.includes("/sendToDevice/")) {
    const type = decodeURIComponent(path.split("/sendToDevice/")[1].split("/")[0]);
    for (const [userId, devices] of Object.entries(JSON.parse(options.body).messages)) {
      for (const deviceId of Object.keys(devices)) {
        say({ event: "sent_to_device", type, user_id: userId, device_id: deviceId });
      }
    }
  }
  const response = await fetch(resource, options);
  if (path.endsWith("/sync") && response.ok) syncs.push(await response.clone().json());
  if (path.endsWith("/keys/upload") && response.ok && options.body.includes("device_keys")) keysUploaded();
  return response;
}

// The SDK keeps quiet about to-device events that it cannot open; its crypto machine does not.
function watchToDevice(machine) {
  const receive = machine.receiveSyncChanges.bind(machine);
  machine.receiveSyncChanges = async (...args) => {
    const processed = await receive(...args);
    for (const message of processed) {
      const event = JSON.parse(message.rawEvent);
      say({
        event: "to_device",
        kind: wasm.ProcessedToDeviceEventType[message.type],
        sender: event.sender,
        type: event.type,
        content: event.content,
      });
    }
    return processed;
  };
}

async function tellDecryption(event) {
  const roomId = event.getRoomId();
  const facts = { room_id: roomId, event_id: event.getId(), sender: event.getSender() };
  if (event.isDecryptionFailure()) {
    say({
      event: "undecryptable",
      ...facts,
      session_id: event.getWireContent().session_id ?? null,
      reason: DecryptionFailureCode[event.decryptionFailureReason] ?? String(event.decryptionFailureReason),
    });
    return;
  }
  const shield = await client.getCrypto().getEncryptionInfoForEvent(event);
  say({
    event: "decrypted",
    ...facts,
    type: event.getType(),
    // With the relation, which stays outside of the ciphertext.
    content: event.getContent(),
    device_id: event.getWireContent().device_id ?? null,
    session_id: event.getWireContent().session_id ?? null,
    shield: shield && ["none", "grey", "red"][shield.shieldColour],
  });
}

async function tellTimelineEvent(event) {
  if (event.status !== null || !event.isEncrypted() || event.isRedacted()) return;
  await client.decryptEventIfNeeded(event);
  if (event.isDecryptionFailure() || event.getClearContent()) await tellDecryption(event);
}

// Goes on with a verification by emoji as somebody who clicks on everything but on "they match".
function followVerification(request) {
  verification = { request, sas: null };
  const mine = verification;
  let starting = false;
  const follow = async () => {
    if (request.phase === 3 && request.initiatedByMe && !starting) {
      starting = true;
      await request.startVerification("m.sas.v1");
    }
    if (request.verifier && !mine.verifier) {
      mine.verifier = request.verifier;
      mine.verifier.on("show_sas", (sas) => (mine.sas = sas));
      mine.verifier.verify().catch(() => {});
    }
  };
  request.on("change", () => void follow());
  void follow();
}

const commands = {
  async login({ url, user_id, device_id, access_token, password, cross_sign }) {
    account = { user_id, password };
    client = sdk.createClient({
      baseUrl: url,
      userId: user_id,
      deviceId: device_id,
      accessToken: access_token,
      fetchFn: watchedFetch,
      cryptoCallbacks: {
        getSecretStorageKey: async ({ keys }) => recoveryKey && [Object.keys(keys)[0], recoveryKey],
      },
      localTimeoutMs: 60_000,
    });
    await client.initRustCrypto({ useIndexedDB: false });
    watchToDevice(client.getCrypto().olmMachine);
    client.on("crypto.verificationRequestReceived", (request) => {
      followVerification(request);
      if (acceptsVerification) void request.accept();
    });
    client.getCrypto().globalBlacklistUnverifiedDevices = false;
    client.on("Room.timeline", (event) => void tellTimelineEvent(event));
    client.on("Room.localEchoUpdated", (event) => void tellTimelineEvent(event));
    client.on("Event.decrypted", (event) => void tellDecryption(event));
    const prepared = new Promise((resolve) => {
      client.on("sync", (state) => {
        if (!["PREPARED", "SYNCING", "CATCHUP"].includes(state)) return;
        for (const raw of syncs.splice(0)) say({ event: "sync", raw });
        resolve();
      });
    });
    await client.startClient({ initialSyncLimit: 100, lazyLoadMembers: false, pollTimeout: 20_000 });
    await prepared;
    await onKeysUploaded;
    if (cross_sign) await commands.cross_sign();
  },

  async cross_sign() {
    await client.getCrypto().bootstrapCrossSigning({
      setupNewCrossSigning: true,
      authUploadDeviceSigningKeys: (makeRequest) =>
        makeRequest({
          type: "m.login.password",
          identifier: { type: "m.id.user", user: account.user_id },
          password: account.password,
        }),
    });
  },

  // Secrets into secret storage, and from now on room keys into the backup: what Element calls setting up recovery.
  async set_up_recovery() {
    const key = await client.getCrypto().createRecoveryKeyFromPassphrase();
    recoveryKey = key.privateKey;
    await client.getCrypto().bootstrapSecretStorage({
      createSecretStorageKey: async () => key,
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
    });
    return key.encodedPrivateKey;
  },

  // What Element does when somebody enters their recovery key on a new device.
  async recover({ recovery_key }) {
    recoveryKey = decodeRecoveryKey(recovery_key);
    const crypto = client.getCrypto();
    await crypto.bootstrapCrossSigning({});
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    await crypto.checkKeyBackupAndEnable();
  },

  async join({ room_id, via }) {
    await client.joinRoom(room_id, { viaServers: via, acceptSharedHistory: true });
  },

  async invite({ room_id, user_id, share_history }) {
    await client.invite(room_id, user_id, { shareEncryptedHistory: share_history });
  },

  async send({ room_id, type, content }) {
    const { event_id } = await client.sendEvent(room_id, type, content);
    return { event_id };
  },

  // Trust nothing but cross-signed devices (MSC4153), as Element does where its administrator says so.
  async only_signed_devices({ on }) {
    client.getCrypto().setDeviceIsolationMode(
      on ? new OnlySignedDevicesIsolationMode() : new AllDevicesIsolationMode(false),
    );
  },

  async devices({ user_id }) {
    const crypto = client.getCrypto();
    const devices = (await crypto.getUserDeviceInfo([user_id], true)).get(user_id) ?? new Map();
    const found = [];
    for (const device of devices.values()) {
      const status = await crypto.getDeviceVerificationStatus(user_id, device.deviceId);
      found.push({ device_id: device.deviceId, cross_signed: status?.signedByOwner ?? false });
    }
    return found;
  },

  async request_verification({ user_id, device_id, room_id }) {
    const crypto = client.getCrypto();
    followVerification(
      room_id
        ? await crypto.requestVerificationDM(user_id, room_id)
        : await crypto.requestDeviceVerification(user_id, device_id),
    );
  },

  async accept_verifications() {
    acceptsVerification = true;
  },

  async verification() {
    const { request, sas } = verification;
    return {
      phase: request?.phase ?? null,
      emoji: sas?.sas.emoji ?? null,
      decimals: sas?.sas.decimal ?? null,
      code: request?.cancellationCode ?? null,
    };
  },

  async answer_verification({ matches }) {
    if (matches) await verification.sas.confirm();
    else verification.sas.mismatch();
  },

  async verified({ user_id }) {
    const status = await client.getCrypto().getUserVerificationStatus(user_id);
    return status.isCrossSigningVerified();
  },

  async decrypt({ room_id, raw }) {
    const event = new sdk.MatrixEvent({ ...raw, room_id });
    await event.attemptDecryption(client.getCrypto());
    if (event.isDecryptionFailure()) return null;
    return { type: event.getType(), content: event.getContent() };
  },

  /** A message as its room shows it: with its newest edit, or redacted; null where the room has not got it. */
  async shown({ room_id, event_id }) {
    const event = client.getRoom(room_id)?.findEventById(event_id);
    return event ? { body: event.getContent().body ?? null, edited: Boolean(event.replacingEventId()), redacted: event.isRedacted() } : null;
  },

  /** Whether an event notifies, as Element judges it once it is opened; null where the room has not got it. */
  async notifies({ room_id, event_id }) {
    const event = client.getRoom(room_id)?.findEventById(event_id);
    return event ? Boolean(client.getPushActionsForEvent(event, true)?.notify) : null;
  },

  /** A poll (MSC3381) as the SDK's own model has it, counted as Element counts; null where the room has none of that id. */
  async poll({ room_id, event_id }) {
    const poll = client.getRoom(room_id)?.polls.get(event_id);
    if (!poll) return null;
    const latest = new Map();
    for (const event of (await poll.getResponses()).getRelations()) {
      const before = latest.get(event.getSender());
      if (!before || before.getTs() < event.getTs()) latest.set(event.getSender(), event);
    }
    const votes = Object.fromEntries(poll.pollEvent.answers.map((answer) => [answer.text, 0]));
    for (const event of latest.values()) {
      const response = event.unstableExtensibleEvent;
      response.validateAgainst(poll.pollEvent);
      if (response.spoiled) continue;
      for (const id of response.answerIds) votes[poll.pollEvent.answers.find((answer) => answer.id === id).text] += 1;
    }
    const { question, kind, maxSelections } = poll.pollEvent;
    return { question: question.text, kind: kind.name, most: maxSelections, ended: poll.isEnded, votes };
  },

  async history({ room_id, limit }) {
    const room = client.getRoom(room_id);
    await client.scrollback(room, limit);
    const events = room.getLiveTimeline().getEvents();
    for (const event of events) await tellTimelineEvent(event);
    return events.map((event) => event.getId());
  },

};

const refusal = (error) =>
  typeof error?.httpStatus === "number"
    ? { refused: { status: error.httpStatus, answer: error.data ?? error.message } }
    : { failed: String(error?.stack ?? error) };

process.on("unhandledRejection", (error) => say({ event: "fault", error: String(error?.stack ?? error) }));

const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity });
lines.on("line", async (line) => {
  const { id, do: name, ...args } = JSON.parse(line);
  try {
    say({ id, ok: (await commands[name](args)) ?? null });
  } catch (error) {
    say({ id, ...refusal(error) });
  }
});
lines.on("close", () => {
  client?.stopClient();
  process.exit(0);
});
