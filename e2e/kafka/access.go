package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// asAdmin has f work as one who may do everything.
func (b *Broker) asAdmin(f func(*kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		return err
	}
	defer client.Close()
	return f(kadm.NewClient(client))
}

// SetPassword gives a user a password for both SCRAMs; a user that is not there is made.
func (b *Broker) SetPassword(ctx context.Context, user, password string) error {
	return b.asAdmin(func(admin *kadm.Client) error {
		for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // Kafka takes one at a time
			altered, err := admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
				{User: user, Mechanism: mechanism, Iterations: 4096, Password: password},
			})
			if err = errors.Join(err, altered.Error()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Allow does what a line of kafka-acls.sh says that begins with --add: with --allow-principal, --operation, --topic and
// --group, each given once or more, and --resource-pattern-type. What comes before --add is passed over.
func (b *Broker) Allow(ctx context.Context, line string) error {
	acl, err := parseACL(line)
	if err != nil {
		return err
	}
	return b.asAdmin(func(admin *kadm.Client) error {
		results, err := admin.CreateACLs(ctx, acl)
		for _, r := range results {
			err = errors.Join(err, r.Err)
		}
		return err
	})
}

// Revoke takes back what Allow gave with the same line.
func (b *Broker) Revoke(ctx context.Context, line string) error {
	acl, err := parseACL(line)
	if err != nil {
		return err
	}
	return b.asAdmin(func(admin *kadm.Client) error {
		results, err := admin.DeleteACLs(ctx, acl)
		for _, r := range results {
			err = errors.Join(err, r.Err)
		}
		return err
	})
}

func parseACL(line string) (*kadm.ACLBuilder, error) {
	_, args, ok := strings.Cut(line, "--add ")
	if !ok {
		return nil, fmt.Errorf("no --add in %q", line)
	}
	acl := kadm.NewACLs().AllowHosts().ResourcePatternType(kadm.ACLPatternLiteral)
	var operations []kadm.ACLOperation
	var topics, groups []string
	words := strings.Fields(args)
	for len(words) >= 2 {
		flag, value := words[0], strings.Trim(words[1], "'")
		words = words[2:]
		switch flag {
		case "--allow-principal":
			acl = acl.Allow(value)
		case "--operation":
			op, err := kmsg.ParseACLOperation(strings.ToUpper(value))
			if err != nil {
				return nil, err
			}
			operations = append(operations, op)
		case "--topic":
			topics = append(topics, value)
		case "--group":
			groups = append(groups, value)
		case "--resource-pattern-type":
			if value != "prefixed" {
				return nil, fmt.Errorf("pattern type %q", value)
			}
			acl = acl.ResourcePatternType(kadm.ACLPatternPrefixed)
		default:
			return nil, fmt.Errorf("flag %s in %q", flag, line)
		}
	}
	if len(words) > 0 || len(operations) == 0 {
		return nil, fmt.Errorf("cannot read %q", line)
	}
	return acl.MaybeTopics(topics...).MaybeGroups(groups...).Operations(operations...), nil
}

// Renew gives the expired listener a certificate that is valid, without a restart, as an operator does it.
func (b *Broker) Renew(ctx context.Context) error {
	path := b.path("renewed.pem")
	if err := b.security.authority.writeStore(path, "broker", time.Now().Add(24*time.Hour)); err != nil {
		return err
	}
	return b.asAdmin(func(admin *kadm.Client) error {
		alter := []kadm.AlterConfig{{Name: "listener.name.expired.ssl.keystore.location", Value: &path}}
		results, err := admin.AlterBrokerConfigs(ctx, alter, 1)
		if i := slices.IndexFunc(results, func(r kadm.AlterConfigsResponse) bool { return r.Err != nil }); i >= 0 {
			err = errors.Join(err, fmt.Errorf("%w: %s", results[i].Err, results[i].ErrMessage))
		}
		return err
	})
}

// Delete deletes a topic.
func (b *Broker) Delete(ctx context.Context, topic string) error {
	return b.asAdmin(func(admin *kadm.Client) error {
		result, err := admin.DeleteTopic(ctx, topic)
		return errors.Join(err, result.Err)
	})
}

// Widen gives a topic more partitions and returns how many it has then.
func (b *Broker) Widen(ctx context.Context, topic string, by int) (partitions int, err error) {
	err = b.asAdmin(func(admin *kadm.Client) error {
		there, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		partitions = len(there[topic].Partitions) + by
		results, err := admin.UpdatePartitions(ctx, partitions, topic)
		return errors.Join(err, results.Error())
	})
	return partitions, err
}
