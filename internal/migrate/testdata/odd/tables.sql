-- MySQL dump 10.13
/*!40101 SET NAMES utf8 */;
DROP TABLE IF EXISTS `dispatcher`;
CREATE TABLE `dispatcher` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `setid` int(11) NOT NULL DEFAULT '0',
  `destination` char(192) NOT NULL DEFAULT '',
  `socket` char(128) DEFAULT NULL,
  `state` int(11) NOT NULL DEFAULT '0',
  `weight` int(11) NOT NULL DEFAULT '1',
  `priority` int(11) NOT NULL DEFAULT '0',
  `attrs` char(128) NOT NULL DEFAULT '',
  `description` char(64) NOT NULL DEFAULT '',
  PRIMARY KEY (`id`),
  KEY `dest_idx` (`setid`,`destination`)
) ENGINE=InnoDB;
LOCK TABLES `dispatcher` WRITE;
INSERT INTO `dispatcher` VALUES (1,1,'sip:10.0.0.1:5060;transport=tcp','udp:10.0.0.9:5060',0,3,0,'pstn=10;zone=a','A:one; it''s \'here\''),
 (2,1,'sip:10.0.0.2',NULL,1,2,5,'','A:two'),(3,1,'sip:10.0.0.3;lr',NULL,2,1,0,'licences=7','B:three'),
 (4,1,'sip:10.0.0.4;transport=ws',NULL,0,1,0,'',''),
 (5,10001,'sip:10.0.0.1',NULL,0,0,0,'','B:'),(6,10001,'sip:asr.example.com',NULL,0,0,0,'','B:by name'),
 (7,5,'sip:10.0.0.5',NULL,0,1,0,'','nobody''s'),(8,6,'sip:10.0.0.6;transport=sctp',NULL,0,1,0,'','');
UNLOCK TABLES;
CREATE TABLE other (x int);
INSERT INTO other VALUES (1);
INSERT INTO opensips.load_balancer (group_id, dst_uri, resources, probe_mode, attrs, description) VALUES
 (1, 'sip:10.1.0.1', 'licences=30;calls=20', 2, 'site=7', 'A:'), (1, 'sip:10.1.0.2', 'licences=40', 0, NULL, 'A:'),
 (2, 'sip:10.1.0.3', 'pstn=fs://:ClueCon@10.1.0.3:8021', 1, NULL, ''),
 (3, 'sip:10.1.0.4', 'pstn=1', 1, NULL, 'B:'), (10003, 'sip:10.1.0.5', 'pstn=1', 1, NULL, 'A:');
REPLACE INTO "dialplan" ("dpid", "pr", "match_op", "match_exp", "match_flags", "subst_exp", "repl_exp", "timerec", "disabled", "attrs") VALUES
 (1, 5, 1, '^ASR_', 0, '', '', '', 0, '1:DS:asr'),
 (1, 1, 1, 'vendor[0-9]+', 1, '^(.*)$', '\\1', '', 0, '1:LB:vendor one'),
 (2, 1, 0, 'TTS', 1, '', '', '', 0, '2:lb:tts'),
 (1, 0, 1, '^old$', 0, '', '', '', 1, '1:DS:asr'),
 (1, 2, 1, '^(?!ASR)', 0, '', '', '', 0, '1:DS:asr'),
 (1, 2, 1, '^night$', 0, '', '', '20990101T000000|', 0, '1:DS:asr'),
 (1, 2, 1, '^gw$', 0, '', '', '', 0, 'gw=4'),
 (1, 2, 1, '^gone$', 0, '', '', '', 0, '44:LB:gone'),
 (1, 2, 1, '^none$', 0, '', '', '', 0, '6:DS:none'),
 (1, 3, 0, 'three', 0, '', '', '', 0, '3:LB:three'),
 (1, 9, 1, '', 0, '', '', '', 0, '1:DS:rest');
