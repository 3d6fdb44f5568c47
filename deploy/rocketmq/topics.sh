#!/usr/bin/env bash
# Creates the topics of minimall on every broker of the cluster; run again, it changes nothing. Needs mqadmin of a RocketMQ
# installation and, from outside of its image, ROCKETMQ_HOME.
#   NAME_SERVER=host:9876 TOPIC_PREFIX=minimall CLUSTER=minimall QUEUES=8 deploy/rocketmq/topics.sh
set -euo pipefail

name_server=${NAME_SERVER:-127.0.0.1:9876}
prefix=${TOPIC_PREFIX:-minimall}
cluster=${CLUSTER:-minimall}
queues=${QUEUES:-8}
mqadmin=${MQADMIN:-${ROCKETMQ_HOME:?is not set}/bin/mqadmin}

# name and type, as src/events.rs has them; probe is where a node shows itself that the broker takes messages
topics='
identity NORMAL
sessions NORMAL
stores NORMAL
caches NORMAL
feed NORMAL
orders FIFO
order-deadlines DELAY
refunds TRANSACTION
probe NORMAL
'

while read -r name kind; do
  [ -n "$name" ] || continue
  echo "$prefix-$name ($kind)"
  # mqadmin answers 0 when it fails, too.
  said=$(sh "$mqadmin" updateTopic -n "$name_server" -c "$cluster" -t "$prefix-$name" -r "$queues" -w "$queues" \
    -a "+message.type=$kind" 2>&1) || true
  grep -q success <<<"$said" || { echo "$said" >&2; exit 1; }
done <<<"$topics"
